//! The Rust reference service: axum and tonic, tokio-postgres with a pool of 25 (deadpool), and the
//! usual middleware (request id, a JSON line, panics caught, timeout, JWT whose verified tokens are
//! remembered, rate limit by caller). Started by bench/servers.py, for HTTP by PORT and for gRPC by
//! APP_GRPC_PORT; a transfer takes its locks in the order of ids, as the second of the Go services.

mod auth;
mod grpc;
mod http;
mod transfers;

use std::{env, error::Error, sync::Arc};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio::{net::TcpListener, signal::unix};
use tokio_postgres::NoTls;

const POOL_SIZE: usize = 25;

#[derive(Clone)]
pub struct App {
    pub pool: Pool,
    pub auth: Arc<auth::Auth>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().json().with_writer(std::io::stdout).init();
    let config: tokio_postgres::Config = env::var("DATABASE_URL")?.parse()?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, NoTls, recycling);
    let pool = Pool::builder(manager).max_size(POOL_SIZE).build()?;
    let auth = Arc::new(auth::Auth::new(env::var("JWT_SECRET")?.as_bytes()));
    let app = App { pool, auth };
    if let Ok(port) = env::var("APP_GRPC_PORT") {
        let address = format!("127.0.0.1:{port}").parse()?;
        grpc::serve(app, address, stopped()).await?;
    } else {
        let address = format!("{}:{}", env::var("HOST")?, env::var("PORT")?);
        let listener = TcpListener::bind(address).await?;
        axum::serve(listener, http::router(app)).with_graceful_shutdown(stopped()).await?;
    }
    Ok(())
}

async fn stopped() {
    let mut signal = unix::signal(unix::SignalKind::terminate()).expect("SIGTERM");
    signal.recv().await;
}
