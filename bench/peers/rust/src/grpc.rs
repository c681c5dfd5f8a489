//! GetRecord on tonic; the other methods of the service are not implemented here.

use std::{collections::HashMap, future::Future, net::SocketAddr, pin::Pin, time::{Duration, Instant}};

use chrono::{DateTime, Utc};
use tokio_postgres::types::Json as Jsonb;
use tonic::{Request, Response, Status, transport::Server};
use uuid::Uuid;

use crate::{App, auth::Refused};

pub mod pb {
    tonic::include_proto!("myservice.v1");
}

use pb::record_service_server::{RecordService, RecordServiceServer};

const QUERY: &str = "SELECT name, metadata, data::text, version, created_at, updated_at FROM records WHERE id = $1";
const TIMEOUT: Duration = Duration::from_secs(30);

pub async fn serve(
    app: App, address: SocketAddr, stopped: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .timeout(TIMEOUT)
        .add_service(RecordServiceServer::new(Records { app }))
        .serve_with_shutdown(address, stopped)
        .await
}

struct Records {
    app: App,
}

impl Records {
    async fn get(&self, request: Request<pb::GetRecordRequest>) -> Result<pb::Record, Status> {
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        self.app.auth.admit(given, "records:read").map_err(|refused| match refused {
            Refused::NoToken => Status::unauthenticated("this needs a bearer token"),
            Refused::WrongToken => Status::unauthenticated("the token is not valid"),
            Refused::NoScope => Status::permission_denied("the token lacks the scope"),
            Refused::TooMany => Status::resource_exhausted("too many requests"),
        })?;
        let id: Uuid = request.get_ref().id.parse().map_err(|_| Status::invalid_argument("id is no UUID"))?;
        let internal = |_| Status::internal("internal error");
        let client = self.app.pool.get().await.map_err(|_| Status::unavailable("unavailable"))?;
        let query = client.prepare_cached(QUERY).await.map_err(internal)?;
        let row = client.query_opt(&query, &[&id]).await.map_err(internal)?;
        drop(client);
        let row = row.ok_or_else(|| Status::not_found("record not found"))?;
        let Jsonb(metadata): Jsonb<HashMap<String, String>> = row.get(1);
        let (created, updated): (DateTime<Utc>, DateTime<Utc>) = (row.get(4), row.get(5));
        Ok(pb::Record {
            id: id.to_string(),
            name: row.get(0),
            metadata,
            data: row.get(2),
            version: row.get(3),
            created_at: created.timestamp(),
            updated_at: updated.timestamp(),
        })
    }
}

type Updates = Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::RecordUpdate, Status>> + Send>>;

#[tonic::async_trait]
impl RecordService for Records {
    type StreamUpdatesStream = Updates;

    async fn get_record(
        &self, request: Request<pb::GetRecordRequest>,
    ) -> Result<Response<pb::GetRecordResponse>, Status> {
        let started = Instant::now();
        let request_id = Uuid::new_v4().to_string();
        let found = self.get(request).await;
        let code = found.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        tracing::info!(
            request_id, method = "/myservice.v1.RecordService/GetRecord", code = ?code,
            duration_ms = started.elapsed().as_secs_f64() * 1e3, "call completed"
        );
        let mut response = Response::new(pb::GetRecordResponse { record: Some(found?) });
        if let Ok(value) = request_id.parse() {
            response.metadata_mut().insert("x-request-id", value);
        }
        Ok(response)
    }

    async fn list_records(
        &self, _: Request<pb::ListRecordsRequest>,
    ) -> Result<Response<pb::ListRecordsResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn create_record(
        &self, _: Request<pb::CreateRecordRequest>,
    ) -> Result<Response<pb::CreateRecordResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn update_record(
        &self, _: Request<pb::UpdateRecordRequest>,
    ) -> Result<Response<pb::UpdateRecordResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn delete_record(
        &self, _: Request<pb::DeleteRecordRequest>,
    ) -> Result<Response<pb::DeleteRecordResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn stream_updates(
        &self, _: Request<pb::StreamRequest>,
    ) -> Result<Response<Updates>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}
