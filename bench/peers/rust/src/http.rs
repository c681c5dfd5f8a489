//! The HTTP API on axum.

use std::{collections::HashMap, sync::Arc, time::{Duration, Instant}};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Path, Query, Request, State, rejection::JsonRejection},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use tokio_postgres::{Row, types::Json as Jsonb};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};
use uuid::Uuid;

use crate::{App, auth::{Claims, Refused}, transfers};

const COLUMNS: &str = "id, name, metadata, data::text, version, created_at, updated_at";
const TIMEOUT: Duration = Duration::from_secs(30);
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Serialize)]
struct Record {
    id: Uuid,
    name: String,
    metadata: HashMap<String, String>,
    data: Box<RawValue>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    name: String,
    #[serde(default)]
    metadata: HashMap<String, String>,
    data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Page {
    records: Vec<Record>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Paging {
    limit: usize,
}

pub struct Problem(pub StatusCode, pub &'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank", "title": self.0.canonical_reason(), "status": self.0.as_u16(),
            "detail": self.1,
        });
        (self.0, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

impl From<deadpool_postgres::PoolError> for Problem {
    fn from(_: deadpool_postgres::PoolError) -> Self {
        Problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    }
}

impl From<tokio_postgres::Error> for Problem {
    fn from(_: tokio_postgres::Error) -> Self {
        Problem(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }
}

impl From<JsonRejection> for Problem {
    fn from(_: JsonRejection) -> Self {
        Problem(StatusCode::BAD_REQUEST, "the body is not valid")
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoToken => Problem(StatusCode::UNAUTHORIZED, "this needs a bearer token"),
            Refused::WrongToken => Problem(StatusCode::UNAUTHORIZED, "the token is not valid"),
            Refused::NoScope => Problem(StatusCode::FORBIDDEN, "this needs another scope"),
            Refused::TooMany => Problem(StatusCode::TOO_MANY_REQUESTS, "too many requests, slow down"),
        }
    }
}

pub fn router(app: App) -> Router {
    let scoped = |scope| from_fn_with_state((app.clone(), scope), authenticate);
    let reads = Router::new()
        .route("/records/{id}", get(get_record))
        .route("/records", get(list_records))
        .route_layer(scoped("records:read"));
    let writes = Router::new()
        .route("/records", axum::routing::post(create_record))
        .route_layer(scoped("records:write"));
    let transfers = Router::new()
        .route("/transfers", axum::routing::post(transfer))
        .route_layer(scoped("transfers:write"));
    Router::new()
        .nest("/api/v1", reads.merge(writes).merge(transfers))
        .route("/health", get(|| async { StatusCode::OK }))
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIMEOUT))
        .layer(CatchPanicLayer::new())
        .layer(from_fn(log))
        .with_state(app)
}

async fn log(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Uuid::new_v4().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    tracing::info!(
        request_id = id, method = %method, path, route, status = response.status().as_u16(),
        duration_ms = started.elapsed().as_secs_f64() * 1e3, "request completed"
    );
    response
}

async fn authenticate(
    State((app, scope)): State<(App, &'static str)>, mut request: Request<Body>, next: Next,
) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match app.auth.admit(given, scope) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refused) => Problem::from(refused).into_response(),
    }
}

fn record(row: &Row) -> Record {
    let Jsonb(metadata) = row.get(2);
    let data: String = row.get(3);
    Record {
        id: row.get(0),
        name: row.get(1),
        metadata,
        data: RawValue::from_string(data).expect("PostgreSQL gives JSON"),
        version: row.get(4),
        created_at: row.get(5),
        updated_at: row.get(6),
    }
}

async fn get_record(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response, Problem> {
    let client = app.pool.get().await?;
    let query = client.prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE id = $1")).await?;
    let row = client.query_opt(&query, &[&id]).await?;
    drop(client);
    let found = record(&row.ok_or(Problem(StatusCode::NOT_FOUND, "record not found"))?);
    Ok(([(header::ETAG, format!("\"{}\"", found.version))], Json(found)).into_response())
}

async fn list_records(
    State(app): State<App>, Query(paging): Query<Paging>,
) -> Result<Json<Page>, Problem> {
    if !(1..=100).contains(&paging.limit) {
        return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, "limit: 1 to 100"));
    }
    let client = app.pool.get().await?;
    let query = client.prepare_cached(&format!("SELECT {COLUMNS} FROM records ORDER BY id LIMIT $1")).await?;
    let rows = client.query(&query, &[&(paging.limit as i64 + 1)]).await?;
    drop(client);
    let mut records: Vec<Record> = rows.iter().take(paging.limit).map(record).collect();
    records.shrink_to_fit();
    let next_cursor = (rows.len() > paging.limit)
        .then(|| records.last().map(|last| last.id.simple().to_string()))
        .flatten();
    Ok(Json(Page { records, next_cursor }))
}

async fn create_record(
    State(app): State<App>, draft: Result<Json<Draft>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(draft) = draft?;
    if !(1..=200).contains(&draft.name.chars().count()) {
        return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, "name: 1 to 200 characters"));
    }
    let now = Utc::now().trunc_subsecs(6);
    let data = match draft.data {
        Some(data) => data,
        None => RawValue::from_string("null".to_owned()).expect("it is JSON"),
    };
    let made = Record {
        id: Uuid::now_v7(), name: draft.name, metadata: draft.metadata, data, version: 1,
        created_at: now, updated_at: now,
    };
    let client = app.pool.get().await?;
    let statement = client
        .prepare_cached(
            "INSERT INTO records (id, name, metadata, data, version, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .await?;
    client
        .execute(
            &statement,
            &[
                &made.id, &made.name, &Jsonb(&made.metadata), &Jsonb(&made.data), &made.version,
                &made.created_at, &made.updated_at,
            ],
        )
        .await?;
    drop(client);
    let headers = [
        (header::LOCATION, format!("/api/v1/records/{}", made.id)),
        (header::ETAG, "\"1\"".to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, Json(made)).into_response())
}

async fn transfer(
    State(app): State<App>, Extension(who): Extension<Arc<Claims>>,
    request: Result<Json<transfers::Request>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(request) = request?;
    if request.amount <= 0 || request.from == request.to {
        return Err(Problem(StatusCode::UNPROCESSABLE_ENTITY, "amount: above 0; from and to: two accounts"));
    }
    let made = transfers::make(&app.pool, &who.sub, request).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}
