//! Deadlines, in virtual time: a connection in memory has no descriptor that would stop the clock.

use std::time::Duration;

use anteroom::test::{Remote, connection};
use anteroom_http::{ConnectionError, Http, Serving};
use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use crate::piped::Piped;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const SLOW_REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
const STREAMED_REQUEST: &[u8] = b"GET /streamed HTTP/1.1\r\nhost: x\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);
/// An HTTP/2 preface with empty settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn http() -> Http<Router> {
    let slow = async || {
        sleep(300 * SECOND).await;
        "slow"
    };
    let streamed = async || {
        Piped::body(async |mut pipe| {
            sleep(20 * SECOND).await;
            pipe.write_all(b"late").await
        })
    };
    Http::new(
        Router::new()
            .route("/", get(async || "hello"))
            .route("/slow", get(slow))
            .route("/streamed", get(streamed)),
    )
}

fn begin(http: &Http<Router>) -> (Serving, DuplexStream, Remote) {
    let (connection, client, remote) = connection();
    (http.serve(connection), client, remote)
}

/// The end of the connection, and how long it took.
async fn end(serving: Serving) -> (Result<(), ConnectionError>, Duration) {
    let began = Instant::now();
    (serving.await, began.elapsed())
}

fn is_about(time: Duration, expected: Duration) -> bool {
    // tokio's clock ticks in milliseconds.
    time >= expected && time < expected + SECOND / 10
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_has_ten_seconds() {
    let (serving, _client, remote) = begin(&http());
    let (result, took) = end(serving).await;
    assert!(matches!(result, Err(ConnectionError::HeadersTooLate { .. })), "{result:?}");
    assert!(is_about(took, 10 * SECOND), "{took:?}");
    assert_eq!(remote.permits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_in_drops_has_the_time_that_was_set_for_all_of_it() {
    let (serving, mut client, _remote) = begin(&http().headers_within(3 * SECOND));
    let drip = async {
        for byte in REQUEST {
            if client.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(SECOND).await;
        }
        panic!("the head was read to its end");
    };
    let ((result, took), ()) = tokio::join!(end(serving), drip);
    assert!(
        matches!(result, Err(ConnectionError::HeadersTooLate { within }) if within == 3 * SECOND),
        "{result:?}"
    );
    assert!(is_about(took, 3 * SECOND), "{took:?}");
}

async fn ask_for_an_answer(client: &mut DuplexStream) {
    client.write_all(REQUEST).await.expect("it is open");
    let mut answer = [0; 512];
    assert!(client.read(&mut answer).await.expect("it is open") > 0);
}

async fn expect_the_end(client: &mut DuplexStream) {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("a clean end");
    assert_eq!(rest, b"");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_a_minute_after_its_last_answer() {
    let (serving, mut client, _remote) = begin(&http());
    let ask = async move {
        for _ in 0..3 {
            ask_for_an_answer(&mut client).await;
            sleep(50 * SECOND).await;
        }
        expect_the_end(&mut client).await;
    };
    let ((result, took), ()) = tokio::join!(end(serving), ask);
    assert!(result.is_ok(), "{result:?}");
    assert!(is_about(took, 160 * SECOND), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_no_idle_connection() {
    let (serving, mut client, _remote) = begin(&http());
    let ask = async {
        client.write_all(SLOW_REQUEST).await.expect("it is open");
        let mut answer = [0; 512];
        let read = client.read(&mut answer).await.expect("it is open");
        assert!(answer[..read].ends_with(b"slow"));
    };
    let ((result, took), ()) = tokio::join!(end(serving), ask);
    assert!(result.is_ok(), "{result:?}");
    assert!(took >= 360 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_may_connect_ahead_and_is_told_to_go_after_a_minute() {
    // Pings would find out that this client answers none.
    let (serving, mut client, _remote) = begin(&http().ping_every(None));
    client.write_all(HTTP2).await.expect("it is open");
    let began = Instant::now();
    let serving = tokio::spawn(serving);
    let mut frames = Vec::new();
    let goes_away = |frames: &[u8]| frames.windows(9).any(|head| head[..5] == [0, 0, 8, 7, 0]);
    while !goes_away(&frames) {
        assert!(client.read_buf(&mut frames).await.expect("a clean end") > 0, "it closed without GOAWAY");
    }
    assert!(is_about(began.elapsed(), 60 * SECOND), "{:?}", began.elapsed());
    drop(client);
    let _its_client_left = serving.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_three_seconds_for_the_first_byte() {
    let (serving, _client, remote) = begin(&http());
    remote.drain();
    let (result, took) = end(serving).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(is_about(took, 3 * SECOND), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_three_seconds_for_the_next_request() {
    let (serving, mut client, remote) = begin(&http());
    let ask = async move {
        ask_for_an_answer(&mut client).await;
        sleep(10 * SECOND).await;
        remote.drain();
        expect_the_end(&mut client).await;
    };
    let ((result, took), ()) = tokio::join!(end(serving), ask);
    assert!(result.is_ok(), "{result:?}");
    assert!(is_about(took, 13 * SECOND), "{took:?}");
}

/// What is already gone cannot say it, so the next answer does.
#[tokio::test(start_paused = true)]
async fn who_reads_an_answer_whose_head_was_sent_before_the_drain_is_told_by_the_next() {
    let (serving, mut client, remote) = begin(&http());
    let ask = async move {
        client.write_all(STREAMED_REQUEST).await.expect("it is open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.expect("it is open") > 0);
        }
        remote.drain();
        while !answer.ends_with(b"0\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.expect("it is open") > 0);
        }
        assert!(!String::from_utf8_lossy(&answer).contains("connection: close"));
        sleep(SECOND).await;
        client.write_all(REQUEST).await.expect("it is open");
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.expect("a clean end");
        assert!(rest.contains("connection: close") && rest.ends_with("hello"), "{rest}");
    };
    let ((result, _), ()) = tokio::join!(end(serving), ask);
    assert!(result.is_ok(), "{result:?}");
}
