//! The messages: what goes in comes out, and whatever else comes in is refused in words.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;

/// A frame, and what is behind it.
fn decode(bytes: &[u8]) -> Result<(Message, usize), FrameError> {
    let cut = |what: &str| FrameError::Body(format!("cut off in the {what}"));
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or_else(|| cut("header"))?;
    let header = Header::decode(header)?;
    let body = rest.get(..header.length).ok_or_else(|| cut("body"))?;
    Ok((Message::decode(header, body)?, HEADER + header.length))
}

fn frame(body: &str, descriptors: usize) -> Vec<u8> {
    let header = Header { length: body.len(), descriptors }.encode().unwrap();
    [&header, body.as_bytes()].concat()
}

fn entry(listener: &str) -> Entry {
    Entry {
        listener: listener.into(),
        peer: "[fe80::1%2]:80".into(),
        kernel_wait_us: None,
        since_handshake_us: 1,
        accepted_ago_us: u64::MAX,
    }
}

fn one_of_each() -> Vec<Message> {
    let offered = |name: &str| Offered { name: name.into(), address: "unix:@app".into(), exclusive: true };
    vec![
        Message::Hello {},
        Message::Offer { listeners: vec![offered("a"), offered("\"\u{1f600}\\")], more: true },
        Message::Ready { taken: vec!["a".into()], left: vec![String::new()], more: true },
        Message::Go {},
        Message::Serving {},
        Message::Connections { entries: vec![entry("a"), entry("b")] },
        Message::Taken { count: 2 },
        Message::Done {},
        Message::Alone {},
        Message::Abort { reason: "left out the listener b".into() },
        Message::Failed { reason: String::new() },
    ]
}

#[test]
fn every_message_comes_out_as_it_went_in() {
    let all = one_of_each();
    let names: Vec<_> = all.iter().map(Message::name).collect();
    assert_eq!(names, KINDS);
    for message in all {
        let bytes = message.encode().unwrap();
        assert_eq!(decode(&bytes), Ok((message, bytes.len())));
    }
}

#[test]
fn every_truncation_is_refused() {
    for message in one_of_each() {
        let bytes = message.encode().unwrap();
        for length in 0..bytes.len() {
            let error = decode(&bytes[..length]).unwrap_err();
            assert!(error.to_string().contains("cut off"), "{error}");
        }
        // A header that says less than there is gives a body that is cut off.
        for length in 0..bytes.len() - HEADER {
            let header = Header { length, descriptors: message.descriptors() };
            let error = Message::decode(header, &bytes[HEADER..HEADER + length]).unwrap_err();
            assert!(matches!(error, FrameError::Body(_)), "{error}");
        }
    }
}

#[test]
fn the_bounds_hold_when_reading_and_when_writing() {
    let header = |length: u32, descriptors: u16, version: u16| {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(version.to_be_bytes());
        bytes.extend(descriptors.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        Header::decode(&bytes.try_into().unwrap())
    };
    assert!(header(65536, 64, 1).is_ok());
    assert_eq!(header(65537, 0, 1), Err(FrameError::TooLong(65537)));
    assert_eq!(header(u32::MAX, 0, 1), Err(FrameError::TooLong(u32::MAX as usize)));
    assert_eq!(header(0, 65, 1), Err(FrameError::TooManyDescriptors(65)));
    assert_eq!(header(0, 0, 2), Err(FrameError::Version(2)));
    assert_eq!(header(0, 0, 0), Err(FrameError::Version(0)));
    assert_eq!(Header::decode(b"GET / HTTP/1"), Err(FrameError::Magic));

    let long = Message::Abort { reason: "x".repeat(MAX_BODY) };
    assert!(matches!(long.encode(), Err(FrameError::TooLong(_))));
    let many = Message::Connections { entries: vec![entry("a"); MAX_DESCRIPTORS + 1] };
    assert_eq!(many.encode(), Err(FrameError::TooManyDescriptors(MAX_DESCRIPTORS + 1)));
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let bytes = frame(r#"{"later":[1,{"x":null}],"kind":"taken","count":3}"#, 0);
    assert_eq!(decode(&bytes).unwrap().0, Message::Taken { count: 3 });
    let bytes = frame(r#"{"kind":"offer","more":false,"listeners":[{"name":"a","color":"red"}]}"#, 1);
    let listeners = vec![Offered { name: "a".into(), address: String::new(), exclusive: false }];
    assert_eq!(decode(&bytes).unwrap().0, Message::Offer { listeners, more: false });
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    let table = [
        (r#"{"kind":"surrender"}"#, 0, "its kind \"surrender\" is not known"),
        (r#"{"kind":"GO"}"#, 0, "its kind \"GO\" is not known"),
        (r#"{"count":3}"#, 0, "missing field `kind`"),
        (r#"{"kind":7}"#, 0, "invalid type"),
        (r#"{"kind":"taken"}"#, 0, "missing field `count`"),
        (r#"{"kind":"taken","count":-1}"#, 0, "invalid value"),
        (r#"{"kind":"go"} {"kind":"go"}"#, 0, "trailing characters"),
        (r#"[]"#, 0, "its body is wrong"),
        ("", 0, "not an object"),
        (r#"{"kind":"go"}"#, 1, "comes with 1 descriptors and lists 0"),
        (r#"{"kind":"offer","listeners":[],"more":false}"#, 2, "comes with 2 descriptors and lists 0"),
        (
            r#"{"kind":"offer","listeners":[{"name":"a"}],"more":false}"#,
            0,
            "comes with 0 descriptors and lists 1",
        ),
    ];
    for (body, descriptors, expected) in table {
        let error = decode(&frame(body, descriptors)).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
    let deep = format!(r#"{{"kind":"go","x":{}"#, "[".repeat(60_000));
    assert!(matches!(decode(&frame(&deep, 0)), Err(FrameError::Body(_))));
}

#[test]
fn the_other_side_s_words_are_short_and_harmless() {
    let reason = format!("\u{1b}[2J{}", "x".repeat(2000));
    let bytes = Message::Failed { reason }.encode().unwrap();
    let Message::Failed { reason } = decode(&bytes).unwrap().0 else { panic!("another message") };
    assert_eq!(reason.chars().count(), MAX_REASON);
    assert!(reason.starts_with(" [2Jx"));
}

#[test]
fn a_list_is_cut_into_pages_that_fit() {
    let short = vec![entry("a"); 200];
    assert_eq!(page(&short), MAX_DESCRIPTORS);
    assert_eq!(page(&short[..3]), 3);
    assert_eq!(page::<Entry>(&[]), 0);
    // As many as there is room for, and one that is too long all the same, to be refused as such.
    let long = vec![entry(&"n".repeat(10_000)); 5];
    assert_eq!(page(&long), 3);
    assert_eq!(page(&[entry(&"n".repeat(MAX_BODY))]), 1);
    let listed = Message::Connections { entries: short[..page(&short)].to_vec() };
    assert!(listed.encode().unwrap().len() < PAGE);
}

/// Each file of the corpus is one frame (`valid-…`) or what is none (`refused-…`), with the words that refuse it.
#[test]
fn the_corpus_is_read_as_its_names_say() {
    let refused = [
        ("refused-another-magic", "does not begin"),
        ("refused-another-version", "version 2 of the exchange, and this side speaks 1"),
        ("refused-body-of-nul-bytes", "its body is wrong"),
        ("refused-body-not-utf8", "its body is wrong"),
        ("refused-cut-in-body", "cut off in the body"),
        ("refused-cut-in-header", "cut off in the header"),
        ("refused-deep-nesting", "recursion limit"),
        ("refused-descriptors-missing", "comes with 0 descriptors and lists 1"),
        ("refused-descriptors-too-many", "and 64 is the most"),
        ("refused-descriptors-where-none-belong", "comes with 3 descriptors and lists 0"),
        ("refused-empty", "cut off in the header"),
        ("refused-empty-body", "not an object"),
        ("refused-http-request", "does not begin"),
        ("refused-kind-twice", "duplicate field"),
        ("refused-length-of-4-gib", "and 65536 is the most"),
        ("refused-list-instead-of-object", "not an object"),
        ("refused-name-is-a-number", "invalid type"),
        ("refused-number-too-large", "number out of range"),
        ("refused-tls-hello", "does not begin"),
        ("refused-two-bodies", "trailing characters"),
        ("refused-unknown-kind", "its kind \"surrender\" is not known"),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/handover");
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        match (decode(&bytes), refused.iter().find(|(refused, _)| *refused == name)) {
            (Ok((message, length)), None) => {
                assert!(name.starts_with(&format!("valid-{}", message.name())), "{name}: {message:?}");
                assert_eq!(length, bytes.len(), "{name}");
                let again = message.encode().unwrap();
                assert_eq!(decode(&again), Ok((message, again.len())), "{name}");
            }
            (Err(error), Some((_, words))) => {
                assert!(error.to_string().contains(words), "{name}: {error}");
            }
            (answer, expected) => panic!("{name}: {answer:?}, expected {expected:?}"),
        }
        seen.push(name);
    }
    for (name, _) in refused {
        assert!(seen.iter().any(|seen| seen == name), "{name} is not there");
    }
    for message in one_of_each() {
        let name = format!("valid-{}", message.name());
        assert!(seen.iter().any(|seen| seen.starts_with(&name)), "{name} is not there");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_answer_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode(&[MAGIC.as_slice(), &[0, 1], &bytes].concat());
    }

    #[test]
    fn an_arbitrary_body_is_an_answer_and_never_a_panic(body in ".{0,200}", kind in 0..KINDS.len()) {
        let _ = decode(&frame(&body, 0));
        let _ = decode(&frame(&format!(r#"{{"kind":"{}",{body}}}"#, KINDS[kind]), 0));
    }

    #[test]
    fn a_mutated_frame_is_refused_or_is_a_message_within_the_bounds(
        which in 0..KINDS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = one_of_each()[which].encode().unwrap();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok((message, _)) = decode(&bytes) {
            prop_assert!(message.descriptors() <= MAX_DESCRIPTORS);
            let again = message.encode().unwrap();
            prop_assert_eq!(decode(&again), Ok((message, again.len())));
        }
    }
}
