//! What a refused HTTP client reads.
//!
//! Owns the bytes of the answer. Never sends them: that is the core's farewell.

use std::time::Duration;

use anteroom::{Refusal, Reply};

/// Refuses with a whole `503 Service Unavailable` of HTTP/1.1, instead of a reset: for
/// [`Config::refusal`](anteroom::Config::refusal). It asks the client to come back after `retry_after`,
/// in whole seconds, rounded up, and at least one. Everybody is told the same time.
///
/// The answer is written without reading the request, whatever that is, and survives request data that
/// nobody reads, within the bounds of [`Farewell`](anteroom::Farewell): who has sent more than it reads
/// away, or comes when it is full, sees a reset. Refused clients of whom no request is expected any more
/// see a reset, too; see [`Refusal::Reply`]. A `HEAD` is answered with the same bytes, and its client
/// stops before the body.
///
/// It may come before the request: a client sends that as soon as it is connected, as a rule, and has
/// sent it by the time the answer arrives. One that connects ahead must not take it for an answer to a
/// request that it sends later (RFC 9112, section 9.2), and finds a connection that was closed: hyper then
/// says that the request was not sent.
///
/// # Bounds
/// Under 300 bytes, written once when the settings are made.
///
/// # Platform
/// It is HTTP/1, in plain text, because it is sent before anything is known of the client:
///
/// - An HTTP/2 client with prior knowledge reads bytes that are no frame, and fails with a protocol or
///   frame-size error instead of a status. It knows that it was not served, and no time to wait.
/// - A TLS client reads bytes that are no record, and fails in the handshake ("wrong version number",
///   for example), which looks like a misconfigured server. Keep [`Refusal::Reset`] where TLS ends in
///   this process.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// use anteroom::{Listener, Server};
/// use anteroom_http::Http;
/// use axum::{Router, routing::get};
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let mut config = anteroom_http::config();
/// config.max_connections = Some(1);
/// config.max_waiting = 0;
/// config.refusal = anteroom_http::unavailable(Duration::from_secs(5));
/// let listener = Listener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr().tcp().expect("it is TCP");
/// let app = Router::new().route("/", get(async || "hello\n"));
/// let server = Server::builder().config(config).serve(listener, Http::new(app)).start()?;
///
/// # let seen = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
/// let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// let mut served = TcpStream::connect(address)?;
/// served.write_all(request)?;
/// served.read_exact(&mut [0])?; // It has the only place, and keeps it.
///
/// let mut refused = TcpStream::connect(address)?;
/// refused.write_all(request)?;
/// let mut answer = String::new();
/// refused.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"));
/// # Ok(answer)
/// # }).await??;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn unavailable(retry_after: Duration) -> Refusal {
    let seconds = in_whole_seconds(retry_after);
    let unit = if seconds == 1 { "second" } else { "seconds" };
    let body = format!("The server is busy. Please try again in {seconds} {unit}.\n");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\n\
         Retry-After: {seconds}\r\n\
         Connection: close\r\n\
         Cache-Control: no-store\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         \r\n\
         {body}",
        body.len()
    );
    Refusal::Reply(Reply::new(answer))
}

/// Rounded up: nobody is asked to come back too early, or at once.
fn in_whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(retry_after: Duration) -> String {
        match unavailable(retry_after) {
            Refusal::Reply(reply) => String::from_utf8(reply.as_bytes().to_vec()).expect("it is text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_is_asked_to_come_back_too_early() {
        let cases = [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(1), 1),
            (Duration::from_millis(1_001), 2),
            (Duration::from_secs(60), 60),
            (Duration::MAX, u64::MAX),
        ];
        for (time, seconds) in cases {
            let answer = answer(time);
            assert!(answer.contains(&format!("\r\nRetry-After: {seconds}\r\n")), "{time:?}: {answer}");
        }
    }

    #[test]
    fn the_length_is_that_of_the_body_and_the_whole_is_short() {
        for time in [Duration::ZERO, Duration::from_secs(2), Duration::MAX] {
            let answer = answer(time);
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
            assert!(answer.len() < 300, "{}", answer.len());
        }
    }
}
