//! Whatever comes to the handover socket, the server serves on: nobody is lost, nothing has changed, and
//! the next successor takes over.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anteroom_testkit::Scratch;
use anteroom_tests::arrivals::Arrivals;
use anteroom_tests::lineage::{Lineage, answered_by};
use anteroom_tests::waiting::PATIENCE;
use rustix::process::{Signal, Uid};
use serde_json::{Value, json};

const GENERATION: &str = env!("CARGO_BIN_EXE_anteroom-test-generation");

/// Newcomers per second.
const RATE: u32 = 300;

/// What an exchange is given where one is to have no more time.
const SHORT: Duration = Duration::from_secs(1);

/// It lists a descriptor, which does not come along.
const OFFER: &str =
    r#"{"kind":"offer","listeners":[{"name":"a","address":"b","exclusive":true}],"more":false}"#;

const HELLO: &str = r#"{"kind":"hello"}"#;

/// A server that offers itself, under load.
struct Scene {
    line: Lineage,
    setup: Value,
    path: PathBuf,
    old: u32,
    main: SocketAddr,
    load: Arrivals,
    _scratch: Scratch,
}

impl Scene {
    /// An exchange has `within`.
    fn set(within: Duration) -> Self {
        let scratch = Scratch::new();
        let path = scratch.join("handover");
        let setup = json!({
            "listen": [{ "name": "main", "address": "127.0.0.1:0" }],
            "handover": path,
            "within": u64::try_from(within.as_millis()).expect("short"),
        });
        let mut line = Lineage::of(GENERATION);
        let old = line.start(&setup);
        let serving = line.tells(old, "serving");
        let main = serving["addresses"]["main"].as_str().expect("it listens").parse().expect("an address");
        let load = Arrivals::begin(main, RATE);
        Self { line, setup, path, old, main, load, _scratch: scratch }
    }

    /// Speaks to the socket, sends no more, and gives all that is answered.
    fn say(&self, words: &[u8]) -> String {
        let mut peer = self.connect();
        // Whoever is not listened to may find the other end closed.
        let _told_off = peer.write_all(words).and_then(|()| peer.shutdown(Shutdown::Write));
        hear(&mut peer)
    }

    fn connect(&self) -> UnixStream {
        let peer = UnixStream::connect(&self.path).expect("it listens");
        peer.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        peer
    }

    /// The event of a handover that failed, with these words.
    fn tells_of(&mut self, words: &str) {
        let old = self.old;
        self.line.hears(&format!("an event with {words:?}"), |line| {
            let text = line["text"].as_str().unwrap_or_default();
            line["pid"] == old && line["target"] == "anteroom::handover_failed" && text.contains(words)
        });
    }

    fn start_successor(&mut self, changes: &[(&str, Value)]) -> u32 {
        let mut successor = self.setup.clone();
        successor["connect"] = true.into();
        for (key, value) in changes {
            successor[key] = value.clone();
        }
        self.line.start(&successor)
    }

    /// As if nothing had happened.
    fn hands_over_and_has_lost_nobody(mut self) {
        assert_eq!(answered_by(self.main), self.old);
        let new = self.start_successor(&[]);
        self.line.tells(new, "serving");
        self.has_handed_over_to(new);
    }

    fn has_handed_over_to(mut self, new: u32) {
        let stopped = self.line.tells(self.old, "stopped");
        assert_eq!((&stopped["error"], &stopped["report"]["balanced"]), (&Value::Null, &json!(true)));
        assert_eq!(answered_by(self.main), new);
        let came = self.load.end();
        let failed: Vec<_> = came.failed().collect();
        assert!(failed.is_empty(), "{came}: {failed:#?}");
        self.line.shut_down(new);
    }
}

/// A frame as the exchange has it: magic, version, descriptors, length, and the body.
fn frame(body: &str) -> Vec<u8> {
    headed(1, 0, u32::try_from(body.len()).expect("short"), body)
}

fn headed(version: u16, descriptors: u16, length: u32, body: &str) -> Vec<u8> {
    let mut frame = b"ANTE".to_vec();
    frame.extend(version.to_be_bytes());
    frame.extend(descriptors.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(body.as_bytes());
    frame
}

fn after_hello(body: &str) -> Vec<u8> {
    [frame(HELLO), frame(body)].concat()
}

/// Until the end. Descriptors that come along are closed by the kernel, since nobody asks for them.
fn hear(peer: &mut UnixStream) -> String {
    let mut heard = Vec::new();
    match peer.read_to_end(&mut heard) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it is left hanging"),
        // Closed with something unread.
        Ok(_) | Err(_) => String::from_utf8_lossy(&heard).into_owned(),
    }
}

#[test]
fn what_is_no_message_is_refused_with_the_reason_and_changes_nothing() {
    let mut scene = Scene::set(PATIENCE);
    let long = "x".repeat(60_000);
    let offer_length = u32::try_from(OFFER.len()).expect("short");
    let strangers: [(&str, Vec<u8>); 11] = [
        ("does not begin as a message", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("does not begin as a message", vec![0; 4096]),
        ("cut off after 5 of 12 bytes of its header", b"ANTE\0".to_vec()),
        ("cut off after 4 of 16 bytes of its body", headed(1, 0, 16, "{\"ki")),
        ("and 65536 is the most", headed(1, 0, u32::MAX, &long)),
        ("version 9", headed(9, 0, 16, HELLO)),
        ("and 64 is the most", headed(1, 999, 16, HELLO)),
        ("0 descriptors came with a message that says 1", headed(1, 1, offer_length, OFFER)),
        ("its kind \"surrender\" is not known", frame(r#"{"kind":"surrender"}"#)),
        ("serving came where hello was awaited", frame(r#"{"kind":"serving"}"#)),
        ("its body is wrong", frame("{{{{{{{{{{{{{{{{{{{{")),
    ];
    for (words, said) in &strangers {
        let answer = scene.say(said);
        // Without the quotes that JSON escapes.
        let plain = words.replace('"', "\\\"");
        assert!(answer.contains(&plain), "{words:?} is told: {answer:?}");
        scene.tells_of(&words.replace('"', "\\\""));
    }
    scene.hands_over_and_has_lost_nobody();
}

#[test]
fn who_speaks_well_and_out_of_order_is_refused_with_the_reason_and_changes_nothing() {
    let mut scene = Scene::set(PATIENCE);
    let ready = |taken: &str, left: &str| {
        after_hello(&format!(r#"{{"kind":"ready","taken":[{taken}],"left":[{left}],"more":false}}"#))
    };
    let strangers: [(&str, Vec<u8>); 7] = [
        ("hello came where ready was awaited", after_hello(HELLO)),
        ("serving came where ready was awaited", after_hello(r#"{"kind":"serving"}"#)),
        ("left out the listener main", ready("", "")),
        ("names more listeners than were offered", ready(r#""main""#, r#""other""#)),
        ("left out the listener main", ready(r#""other""#, "")),
        ("refused: I do not like it", after_hello(r#"{"kind":"failed","reason":"I do not like it"}"#)),
        ("does not begin as a message", [frame(HELLO), b"and now for something".to_vec()].concat()),
    ];
    for (words, said) in &strangers {
        let answer = scene.say(said);
        assert!(answer.contains("abort"), "{words:?}: {answer:?}");
        scene.tells_of(words);
    }
    scene.hands_over_and_has_lost_nobody();
}

#[test]
fn who_says_nothing_holds_up_nobody() {
    let mut scene = Scene::set(SHORT);
    let silent: Vec<_> = (0..4).map(|_| scene.connect()).collect();
    // And one that says hello and then nothing is given up after its time.
    let mut hesitant = scene.connect();
    hesitant.write_all(&frame(HELLO)).expect("it listens");
    let answer = hear(&mut hesitant);
    assert!(answer.contains("did not answer in time"), "{answer:?}");
    scene.tells_of("did not answer in time");
    scene.hands_over_and_has_lost_nobody();
    drop(silent);
}

#[test]
fn hostile_peers_do_not_disturb_an_exchange_that_is_under_way() {
    let mut scene = Scene::set(PATIENCE);
    let new = scene.start_successor(&[("die", json!({ "step": "GotGo", "how": "stop" }))]);
    scene.line.tells(new, "at");
    scene.line.has_stopped(new);
    let answer = scene.say(b"GET / HTTP/1.1\r\n\r\n");
    assert!(answer.contains("does not begin as a message"), "{answer:?}");
    let answer = scene.say(&frame(HELLO));
    assert!(answer.contains("another handover is under way"), "{answer:?}");
    scene.tells_of("another handover is under way");
    scene.line.signal(new, Signal::CONT);
    scene.line.tells(new, "serving");
    scene.has_handed_over_to(new);
}

#[test]
fn a_process_of_another_user_is_not_spoken_to() {
    if !rustix::process::geteuid().is_root() {
        let why = "only root can be another user";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        println!("skipped: {why}");
        return;
    }
    let mut scene = Scene::set(PATIENCE);
    let file = fs::metadata(&scene.path).expect("the socket's file");
    assert_eq!(file.mode() & 0o777, 0o600, "nobody else may even connect");
    assert_eq!(as_nobody(&scene.path, b""), None);
    fs::set_permissions(&scene.path, Permissions::from_mode(0o666)).expect("it is ours");
    let answer = as_nobody(&scene.path, &frame(HELLO));
    assert_eq!(answer.as_deref(), Some(""), "not a word, and no descriptor");
    scene.tells_of("belongs to the user 65534");
    scene.hands_over_and_has_lost_nobody();
}

/// What somebody else hears who says this; `None`: he is not let in.
fn as_nobody(path: &Path, words: &[u8]) -> Option<String> {
    let connect = || {
        // Of this thread alone, and it ends here.
        let nobody = Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may be anybody");
        UnixStream::connect(path).ok()
    };
    let mut peer = std::thread::scope(|scope| scope.spawn(connect).join().expect("it does not panic"))?;
    peer.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    let _told_off = peer.write_all(words);
    Some(hear(&mut peer))
}
