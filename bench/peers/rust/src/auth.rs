//! Tokens and the rate of each caller. A token that was good is remembered until it expires.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

const MAX_TOKENS: usize = 10_000;
const PER_SECOND: u32 = 10_000_000;

#[derive(Deserialize)]
pub struct Claims {
    pub sub: String,
    #[serde(default)]
    pub scope: String,
    exp: u64,
}

impl Claims {
    pub fn may(&self, scope: &str) -> bool {
        self.scope.split_ascii_whitespace().any(|one| one == scope)
    }
}

pub enum Refused {
    NoToken,
    WrongToken,
    NoScope,
    TooMany,
}

pub struct Auth {
    key: DecodingKey,
    validation: Validation,
    known: RwLock<HashMap<String, Arc<Claims>>>,
    limiter: DefaultKeyedRateLimiter<String>,
}

impl Auth {
    pub fn new(secret: &[u8]) -> Self {
        let rate = NonZeroU32::new(PER_SECOND).expect("a rate");
        let burst = NonZeroU32::new(2 * PER_SECOND).expect("a burst");
        Self {
            key: DecodingKey::from_secret(secret),
            validation: Validation::new(Algorithm::HS256),
            known: RwLock::default(),
            limiter: RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)),
        }
    }

    /// Who calls, if the token is good, has the scope, and the caller is not too fast.
    pub fn admit(&self, authorization: Option<&str>, scope: &str) -> Result<Arc<Claims>, Refused> {
        let token = authorization.and_then(|given| given.strip_prefix("Bearer ")).ok_or(Refused::NoToken)?;
        let who = self.verify(token)?;
        if self.limiter.check_key(&who.sub).is_err() {
            return Err(Refused::TooMany);
        }
        if who.may(scope) { Ok(who) } else { Err(Refused::NoScope) }
    }

    fn verify(&self, token: &str) -> Result<Arc<Claims>, Refused> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        let known = self.known.read().expect("no panic").get(token).cloned();
        if let Some(who) = known.filter(|who| now < who.exp) {
            return Ok(who);
        }
        let found = decode::<Claims>(token, &self.key, &self.validation).map_err(|_| Refused::WrongToken)?;
        let who = Arc::new(found.claims);
        let mut known = self.known.write().expect("no panic");
        if known.len() >= MAX_TOKENS {
            known.clear();
        }
        known.insert(token.to_owned(), who.clone());
        Ok(who)
    }
}
