//! What "no change" is measured against: hyper, on which the gateway stands, with a handler that always gives the same
//! answer. This same program as a process of its own, started as the gateway is: `serve --config … --ready-file …`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;

/// The configuration is the body of every answer.
pub(crate) async fn serve() -> Result<(), Failure> {
    let (mut config, mut ready) = (PathBuf::new(), PathBuf::new());
    let mut arguments = std::env::args_os().skip(2);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") => config = arguments.next().unwrap_or_default().into(),
            Some("--ready-file") => ready = arguments.next().unwrap_or_default().into(),
            _ => {}
        }
    }
    let body = Bytes::from(std::fs::read(config)?);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let addr = listener.local_addr()?;
    let temporary = ready.with_extension("new");
    std::fs::write(&temporary, serde_json::json!({ "http": addr, "admin": addr }).to_string())?;
    std::fs::rename(temporary, ready)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        tokio::spawn(async move {
            let service = service_fn(|_| {
                let answer = answer(body.clone());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection =
                http1::Builder::new().title_case_headers(true).serve_connection(TokioIo::new(stream), service);
            let _client_gone = connection.await;
        });
    }
}

fn answer(body: Bytes) -> Response<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(HeaderName::from_static("x-dyngate-reason"), HeaderValue::from_static("unchanged"));
    let mut response = Response::new(Full::new(body));
    *response.headers_mut() = headers;
    response
}
