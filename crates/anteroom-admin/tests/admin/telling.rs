//! Each path, its shape, and what is refused.

use anteroom_admin::{Admin, AdminError};
use serde_json::Value;

use crate::asking::{admin, echoes, get, parts, raw, server, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_path_tells_what_it_promises() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    echoes(at);
    assert_eq!(get(to, "/live"), (200, "live\n".to_owned()));
    assert_eq!(get(to, "/ready"), (200, "server: ready\n".to_owned()));
    assert_eq!(get(to, "/ready?verbose").0, 200, "a query changes nothing");
    let (code, body) = get(to, "/nothing");
    assert_eq!((code, body.contains("/status")), (404, true), "{body}");

    let (code, body) = get(to, "/status");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((code, &told["shape"]), (200, &Value::from(1)));
    let one = &told["servers"]["server"];
    assert_eq!((&one["phase"], &one["ready"]), (&Value::from("serving"), &Value::from(true)));
    assert_eq!((&one["unready_because"], &one["oldest_wait_seconds"]), (&Value::Null, &Value::Null));
    let listener = &one["listeners"][0];
    assert_eq!((&listener["name"], &listener["accepting"]), (&Value::from("public"), &Value::from("yes")));
    assert_eq!(listener["report"]["accepted"], 1);
    assert!(listener["queue"].get("depth").is_some() && listener["kernel_wait"]["p99_seconds"].is_number());
    assert_eq!(one["stalls"], Value::Array(Vec::new()));
    assert_eq!(one["stalls_so_far"]["held"], 0);
    assert_eq!(one["report"]["refused"]["full"], 0);

    let (code, body) = get(to, "/metrics");
    assert_eq!(code, 200);
    for line in [
        "anteroom_accepted_total{server=\"server\",listener=\"public\"} 1",
        "anteroom_ready{server=\"server\"} 1",
        "# TYPE anteroom_poll_seconds histogram",
    ] {
        assert!(body.contains(line), "{line} is not in {body}");
    }
    let (_, again) = get(to, "/metrics");
    assert!(
        again.contains("anteroom_accepted_total{server=\"server\",listener=\"public\"} 1"),
        "a count is not told twice"
    );
}

#[tokio::test]
async fn who_is_not_ready_says_why_and_who_has_stopped_too() {
    let ((first, _), (second, _)) = (server(), server());
    let admin = Admin::builder().named("public", &first.handle()).named("inner", &second.handle());
    let admin = admin.bind("127.0.0.1:0").expect("it starts");
    let to = admin.local_addr().tcp().expect("TCP");
    assert_eq!(get(to, "/ready"), (200, "public: ready\ninner: ready\n".to_owned()));
    second.handle().pause();
    assert_eq!(get(to, "/ready"), (503, "public: ready\ninner: not ready: paused\n".to_owned()));
    second.handle().stop_now().await.expect("it stops");
    assert_eq!(get(to, "/ready").0, 503);
    let told: Value = serde_json::from_str(&get(to, "/status").1).expect("JSON");
    assert_eq!(told["servers"]["inner"]["phase"], "stopped");
    assert_eq!(told["servers"]["inner"]["listeners"][0]["queue"], Value::Null, "closed is not empty");
    assert_eq!(get(to, "/live").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_whose_listeners_are_called_the_same_have_metrics_of_their_own() {
    let ((first, at), (second, _)) = (server(), server());
    let admin = Admin::builder().named("outer", &first.handle()).named("inner", &second.handle());
    let admin = admin.bind("127.0.0.1:0").expect("it starts");
    let to = admin.local_addr().tcp().expect("TCP");
    let _open = crate::asking::connect(at);
    second.handle().pause();
    let started = std::time::Instant::now();
    loop {
        let page = get(to, "/metrics").1;
        let told = [
            "anteroom_accepted_total{server=\"outer\",listener=\"public\"} 1",
            "anteroom_accepted_total{server=\"inner\",listener=\"public\"} 0",
            "anteroom_open_connections{server=\"outer\",listener=\"public\"} 1",
            "anteroom_open_connections{server=\"inner\",listener=\"public\"} 0",
            "anteroom_ready{server=\"outer\"} 1",
            "anteroom_ready{server=\"inner\"} 0",
        ]
        .into_iter()
        .all(|line| page.lines().any(|told| told == line));
        if told {
            assert_eq!(page.matches("# TYPE anteroom_ready gauge").count(), 1);
            break;
        }
        assert!(started.elapsed() < crate::asking::PATIENCE, "{page}");
    }
}

#[tokio::test]
async fn only_those_who_read_are_answered() {
    let (server, _) = server();
    let (_admin, to) = admin(&server);
    let live = raw(to, b"GET /live HTTP/1.0\r\n\r\n").to_lowercase();
    assert!(live.contains("x-content-type-options: nosniff"), "{live}");
    let head = raw(to, b"HEAD /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(parts(&head), (200, String::new()));
    let post = raw(to, b"POST /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(status(&post) == 405 && post.to_lowercase().contains("allow: get, head"), "{post}");
    let body = raw(to, b"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(status(&body), 413);
    assert!(!raw(to, b"GET /live HTTP/1.0\r\n\r\n").is_empty(), "an old client needs no host");
}

#[tokio::test]
async fn a_page_whose_name_resolves_to_loopback_is_told_nothing() {
    let (server, _) = server();
    let (_admin, to) = admin(&server);
    for (host, code) in [
        ("evil.example", 421),
        ("evil.example:9090", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost", 200),
        ("LOCALHOST:9090", 200),
        ("127.0.0.1:9090", 200),
        ("[::1]:9090", 200),
        ("[::1]", 200),
        ("", 200),
        ("[::1].evil", 421),
        ("[::1]evil:80", 421),
        ("[::1", 421),
        ("[::1]:x", 421),
        ("evil@127.0.0.1", 421),
        ("localhost:80@evil.example", 421),
        ("127.0.0.1:evil", 421),
        (":80", 421),
        ("127.0.0.1\r\nHost: evil.example", 421),
        ("127.0.0.1\r\nHost: 127.0.0.1", 421),
    ] {
        let request = format!("GET /live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&raw(to, request.as_bytes())), code, "{host}");
    }
    let absolute =
        raw(to, b"GET http://evil.example/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&absolute), 421);

    let open =
        Admin::builder().server(&server.handle()).beyond_loopback().bind("127.0.0.1:0").expect("it starts");
    let to = open.local_addr().tcp().expect("TCP");
    let named = raw(to, b"GET /live HTTP/1.1\r\nHost: pod.example\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&named), 200);
}

#[tokio::test]
async fn nobody_listens_beyond_loopback_unasked() {
    let (server, _) = server();
    for elsewhere in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9090"] {
        let refused =
            Admin::serve(&server.handle(), elsewhere).expect_err("it can be reached from elsewhere");
        assert!(matches!(refused, AdminError::BeyondLoopback { .. }), "{refused}");
        assert!(refused.to_string().contains("beyond_loopback()"), "{refused}");
    }
    let everywhere = Admin::builder().server(&server.handle()).beyond_loopback().bind("0.0.0.0:0");
    assert!(everywhere.is_ok());
    assert!(matches!(Admin::builder().bind("127.0.0.1:0"), Err(AdminError::NothingToTell)));
    assert!(matches!(Admin::serve(&server.handle(), "nonsense"), Err(AdminError::Address(_))));
    let (_taken, to) = admin(&server);
    let taken = Admin::serve(&server.handle(), to).expect_err("the port is taken");
    assert!(matches!(taken, AdminError::Bind(_)), "{taken}");
    let twice = Admin::builder().server(&server.handle()).server(&server.handle()).bind("127.0.0.1:0");
    assert!(matches!(twice, Err(AdminError::TwoOfOneName { name }) if name == "server"));
}

#[tokio::test]
async fn a_unix_socket_is_for_its_user_alone_and_goes_with_its_owner() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    let (server, _) = server();
    let folder = std::env::temp_dir().join(format!("anteroom-admin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("socket");
    let admin =
        Admin::serve(&server.handle(), format!("unix:{}", path.display()).as_str()).expect("it starts");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = std::os::unix::net::UnixStream::connect(&path).expect("somebody listens");
    client.write_all(b"GET /live HTTP/1.1\r\nHost: any.name\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    assert_eq!(status(&answer), 200, "a name is nothing here");
    drop(admin);
    assert!(!path.exists(), "it leaves no file behind");
    std::fs::remove_dir(&folder).expect("the folder is empty");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_without_a_file_is_for_nobody_unasked() {
    let (server, _) = server();
    let name = format!("unix:@anteroom-admin-{}", std::process::id());
    let refused = Admin::serve(&server.handle(), name.as_str()).expect_err("everybody may connect to it");
    assert!(matches!(refused, AdminError::Unprotected { .. }), "{refused}");
    assert!(refused.to_string().contains("beyond_loopback()"), "{refused}");
    let open = Admin::builder().server(&server.handle()).beyond_loopback().bind(name.as_str());
    assert!(open.is_ok());
}

#[test]
fn without_a_runtime_of_the_caller_s_it_runs_and_ends_with_its_owner() {
    let incoming = anteroom::Incoming::bind("127.0.0.1:0").expect("a free port");
    let admin = Admin::serve(&incoming.handle(), "127.0.0.1:0").expect("it starts");
    let to = admin.local_addr().tcp().expect("TCP");
    assert_eq!(get(to, "/ready").0, 200);
    drop(admin);
    assert!(std::net::TcpStream::connect(to).is_err(), "it has ended");
}
