//! Transfers: both accounts are locked by one statement in the order of their ids, and everything is
//! written by another.

use axum::http::StatusCode;
use chrono::{DateTime, SubsecRound, Utc};
use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::Problem;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub from: Uuid,
    pub to: Uuid,
    pub amount: i64,
    #[serde(default)]
    reference: String,
}

#[derive(Serialize)]
pub struct Made {
    id: Uuid,
    from: Uuid,
    to: Uuid,
    amount: i64,
    reference: String,
    from_balance: i64,
    to_balance: i64,
    created_at: DateTime<Utc>,
}

const LOCK: &str = "SELECT owner, balance FROM accounts WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";
const WRITE: &str = "WITH moved AS (UPDATE accounts SET balance = CASE id WHEN $2 THEN $6::bigint \
    ELSE $7::bigint END WHERE id IN ($2, $3)) INSERT INTO transfers (id, from_id, to_id, amount, \
    reference, from_balance, to_balance, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub async fn make(pool: &Pool, subject: &str, request: Request) -> Result<Made, Problem> {
    let mut client = pool.get().await?;
    let (lock, write) = (client.prepare_cached(LOCK).await?, client.prepare_cached(WRITE).await?);
    let transaction = client.transaction().await?;
    let rows = transaction.query(&lock, &[&vec![request.from, request.to]]).await?;
    let [first, second] = rows.as_slice() else {
        return Err(Problem(StatusCode::NOT_FOUND, "account not found"));
    };
    let (from, to) = if request.from < request.to { (first, second) } else { (second, first) };
    let (owner, from_balance, to_balance): (&str, i64, i64) = (from.get(0), from.get(1), to.get(1));
    if owner != subject {
        return Err(Problem(StatusCode::FORBIDDEN, "the account is somebody else's"));
    }
    if from_balance < request.amount {
        return Err(Problem(StatusCode::CONFLICT, "insufficient balance"));
    }
    let made = Made {
        id: Uuid::now_v7(),
        from: request.from,
        to: request.to,
        amount: request.amount,
        reference: request.reference,
        from_balance: from_balance - request.amount,
        to_balance: to_balance + request.amount,
        created_at: Utc::now().trunc_subsecs(6),
    };
    transaction
        .execute(
            &write,
            &[
                &made.id, &made.from, &made.to, &made.amount, &made.reference, &made.from_balance,
                &made.to_balance, &made.created_at,
            ],
        )
        .await?;
    transaction.commit().await?;
    Ok(made)
}
