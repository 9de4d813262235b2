//! One connection: handshake, requests within limits, answers with the headers that browsers should have.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{Answer, Metrics, Request, ServeOptions, Site};

/// The head of a request may be this long; hyper takes no less.
const HEAD_BYTES: usize = 16 << 10;
/// Pages may use their own style and script and nothing else.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                              img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) struct Shared {
    pub(super) site: Arc<dyn Site>,
    pub(super) metrics: Metrics,
    /// Only this machine can come, so a name that is not this machine's is another site's trick.
    pub(super) loopback: bool,
    pub(super) options: ServeOptions,
}

pub(super) async fn serve(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
) {
    // A client that goes away half-way is no event.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => http(stream, shared, ended).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(shared.options.patience, acceptor.accept(stream)).await {
                http(stream, shared, ended).await;
            }
        }
    }
}

async fn http<S>(stream: S, shared: Arc<Shared>, mut ended: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (patience, lifetime) = (shared.options.patience, shared.options.lifetime);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(lifetime) => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(patience, connection).await;
}

async fn answer(request: hyper::Request<Incoming>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
    #[allow(clippy::disallowed_methods)] // The thin edge: the time is stamped here.
    let start = std::time::Instant::now();
    let answer = match refused(request.headers(), request.method(), shared.loopback) {
        Some(answer) => answer,
        None => match read(request, shared).await {
            Ok(request) => judged(request, shared).await,
            Err(answer) => answer,
        },
    };
    shared.metrics.count(answer.route, answer.status, start.elapsed());
    response(answer)
}

async fn judged(request: Request, shared: &Arc<Shared>) -> Answer {
    match request.path.as_str() {
        "/healthz" if request.is_get() => Answer::text("/healthz", 200, "ok"),
        "/metrics" if request.is_get() => {
            let mut text = shared.metrics.to_text();
            shared.site.metrics(&mut text);
            Answer::new("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        _ => {
            let site = shared.site.clone();
            let judging = tokio::task::spawn_blocking(move || site.answer(&request));
            judging
                .await
                .unwrap_or_else(|_| Answer::text("other", 500, "this request broke something; please report it"))
        }
    }
}

/// What is refused by its head alone: a page of another site that reaches for one that only this machine sees, or that makes
/// a browser change something.
fn refused(headers: &HeaderMap, method: &Method, loopback: bool) -> Option<Answer> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if loopback && !is_here(host) {
        return Some(Answer::text("other", 421, "this server is only known by its address or as localhost"));
    }
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    if *method == Method::POST && origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(host)) {
        return Some(Answer::text("other", 403, "a page of another site may not ask for this"));
    }
    None
}

/// An address or `localhost`, with a port or without.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<std::net::IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

async fn read(request: hyper::Request<Incoming>, shared: &Shared) -> Result<Request, Answer> {
    let limit = shared.options.body_bytes;
    let (head, body) = request.into_parts();
    let body = match timeout(shared.options.patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Answer::text("other", 413, &format!("larger than {limit} bytes")));
        }
        Ok(Err(_)) => return Err(Answer::text("other", 400, "the body did not come to its end")),
        Err(_) => return Err(Answer::text("other", 408, "the body took too long")),
    };
    Ok(Request { method: head.method.as_str().to_owned(), path: head.uri.path().to_owned(), body })
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder()
        .status(answer.status)
        .header(header::CONTENT_TYPE, answer.content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)
        .header(header::REFERRER_POLICY, "no-referrer");
    if let Some(location) = answer.location {
        response = response.header(header::LOCATION, location);
    }
    response.body(Full::new(Bytes::from(answer.body))).expect("statuses and headers are ours and well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_is_refused() {
        let headers = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            headers
        };
        let status = |headers: &HeaderMap, method: Method, loopback| {
            refused(headers, &method, loopback).map(|answer| answer.status)
        };
        for host in ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"] {
            assert_eq!(status(&headers(host, None), Method::GET, true), None, "{host}");
        }
        assert_eq!(status(&headers("evil.example:8000", None), Method::GET, true), Some(421));
        assert_eq!(status(&headers("scan.example:8000", None), Method::GET, false), None);
        let own = headers("localhost:8000", Some("http://localhost:8000"));
        assert_eq!(status(&own, Method::POST, true), None);
        let other = headers("localhost:8000", Some("https://evil.example"));
        assert_eq!(status(&other, Method::POST, true), Some(403));
        assert_eq!(status(&other, Method::GET, true), None);
    }
}
