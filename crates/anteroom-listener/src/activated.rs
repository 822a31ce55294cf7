//! Sockets that a parent left open: those of a service manager, and single ones that a variable names.
//!
//! Owns the reading of the variables, and taking each number once. Never removes a variable: no process can do that
//! safely while it has threads.

use std::{
    env,
    ffi::OsString,
    io,
    os::fd::{OwnedFd, RawFd},
    process,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    ActivationError, Listener, Listeners,
    activation_error::Why,
    sys::inherited::{self, Taken},
};

/// The number of the first descriptor that a service manager passes (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// The listeners that a service manager opened for this process: socket activation by `LISTEN_PID`, `LISTEN_FDS` and
/// `LISTEN_FDNAMES` (sd_listen_fds(3)). In their order, each [adopted](Listener::adopt): made non-blocking and
/// close-on-exec. Each has the name that the manager gave it, or its address; sockets of one unit share a name.
///
/// Empty if this process was not activated: the variables are missing, or `LISTEN_PID` is another process. It takes the
/// descriptors once; a second call is empty.
///
/// The manager holds the sockets too, so none is [exclusive](Listener::is_exclusive), and closing them resets nobody:
/// what is queued waits for the next start.
///
/// The variables stay as they are. Children inherit them and not the descriptors, and are not misled: `LISTEN_PID` is
/// not theirs.
///
/// # Errors
///
/// If a variable cannot be read, or a descriptor is not what can be served here. The error names it and says what to
/// change. It holds all descriptors that were passed; dropping it closes them.
///
/// # Examples
///
/// ```
/// use anteroom_listener::{Listener, Listeners, activated};
///
/// let mut listeners = activated()?;
/// if listeners.is_empty() {
///     listeners = Listener::bind("127.0.0.1:0")?.into();
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn activated() -> Result<Listeners, ActivationError> {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if ASKED.swap(true, Ordering::Relaxed) {
        return Ok(Listeners::default());
    }
    let mut descriptors = Vec::new();
    for Passed { number, name } in passed(|name| env::var_os(name), process::id())? {
        let fd = match inherited::take(number) {
            Ok(Taken::Ours(fd)) => fd,
            other => {
                let why = match other {
                    Ok(Taken::NotOpen) => Why::NotOpen,
                    Ok(_) => Why::NotInherited,
                    Err(error) => Why::Refused(error),
                };
                let held = descriptors.into_iter().map(|(_, _, fd)| fd).collect();
                return Err(ActivationError::of_descriptor(number, name, why, held));
            }
        };
        descriptors.push((number, name, fd));
    }
    adopt_all(descriptors)
}

/// The socket that a parent left under a variable as `<descriptor>:<inode>`, close-on-exec from now on. The inode says
/// which socket is meant: descriptors are only numbers, and a process further down inherits the variable without the
/// descriptor.
///
/// `None` if the variable is not set, or nothing, something else or another socket is open under that number by now.
/// Each number is given out once in a process, whoever asks; the second time it is `None`.
///
/// The variable stays as it is.
///
/// # Errors
///
/// A variable that does not read like that, and what the kernel says to fstat(2) and fcntl(2).
pub fn inherited_socket(variable: &str) -> io::Result<Option<OwnedFd>> {
    let Some(value) = env::var_os(variable) else { return Ok(None) };
    let Some((number, inode)) = number_and_inode(&value) else {
        let why = format!("cannot read {variable}: it is {value:?} and not <descriptor>:<inode>");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    };
    if inherited::socket_inode(number)? != Some(inode) {
        return Ok(None);
    }
    Ok(match inherited::take(number)? {
        Taken::Ours(fd) => Some(fd),
        Taken::NotOpen | Taken::NotInherited => None,
    })
}

/// One descriptor that is said to be passed.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    number: RawFd,
    name: Option<String>,
}

/// What the variables say is passed to the process with this number.
fn passed(
    variable: impl Fn(&str) -> Option<OsString>,
    process: u32,
) -> Result<impl Iterator<Item = Passed>, ActivationError> {
    let read = |name| variable(name).map(|value| value.into_string()).transpose();
    let malformed = |name| ActivationError::of_variable(name, variable(name).unwrap_or_default());
    let number = |name| -> Result<Option<u32>, ActivationError> {
        let Some(text) = read(name).map_err(|_| malformed(name))? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| malformed(name))
    };
    let is_ours = number("LISTEN_PID")? == Some(process);
    let count = if is_ours { number("LISTEN_FDS")?.unwrap_or(0) } else { 0 };
    let count = RawFd::try_from(count).ok().filter(|count| count.checked_add(FIRST).is_some());
    let count = count.ok_or_else(|| malformed("LISTEN_FDS"))?;
    let names =
        if count > 0 { read("LISTEN_FDNAMES").map_err(|_| malformed("LISTEN_FDNAMES"))? } else { None };
    let names: Option<Vec<String>> = names.map(|names| names.split(':').map(str::to_owned).collect());
    if names.as_ref().is_some_and(|names| usize::try_from(count) != Ok(names.len())) {
        return Err(malformed("LISTEN_FDNAMES"));
    }
    let names = names.into_iter().flatten().map(|name| Some(name).filter(|name| !name.is_empty()));
    let numbers = FIRST..FIRST + count;
    Ok(numbers.zip(names.chain(std::iter::repeat(None))).map(|(number, name)| Passed { number, name }))
}

/// Adopts all or none.
fn adopt_all(descriptors: Vec<(RawFd, Option<String>, OwnedFd)>) -> Result<Listeners, ActivationError> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut descriptors = descriptors.into_iter();
    while let Some((number, name, fd)) = descriptors.next() {
        match (Listener::adopt(fd), name) {
            (Ok(listener), Some(name)) => listeners.push(listener.with_name(name)),
            (Ok(listener), None) => listeners.push(listener),
            (Err(error), name) => {
                let (why, fd) = Why::not_adopted(error);
                let held = listeners.into_iter().map(OwnedFd::from).chain([fd]);
                let held = held.chain(descriptors.map(|(_, _, fd)| fd)).collect();
                return Err(ActivationError::of_descriptor(number, name, why, held));
            }
        }
    }
    Ok(listeners.into())
}

fn number_and_inode(value: &std::ffi::OsStr) -> Option<(RawFd, u64)> {
    let (number, inode) = value.to_str()?.split_once(':')?;
    let is_decimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_decimal(number) || !is_decimal(inode) {
        return None;
    }
    Some((number.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<Passed>, String> {
        let value = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        passed(value, 42).map(Iterator::collect).map_err(|error| error.to_string())
    }

    fn one(number: RawFd, name: Option<&str>) -> Passed {
        Passed { number, name: name.map(str::to_owned) }
    }

    #[test]
    fn the_numbers_begin_at_three_and_the_names_stand_in_their_order() {
        let both = [("LISTEN_PID", "42"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http:admin")];
        assert_eq!(read(&both), Ok(vec![one(3, Some("http")), one(4, Some("admin"))]));
        assert_eq!(read(&both[..2]), Ok(vec![one(3, None), one(4, None)]));
        let unnamed = [("LISTEN_PID", "42"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", ":x")];
        assert_eq!(read(&unnamed), Ok(vec![one(3, None), one(4, Some("x"))]));
    }

    #[test]
    fn what_is_not_for_this_process_is_nothing() {
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&[("LISTEN_FDS", "2")]), Ok(vec![]));
        assert_eq!(read(&[("LISTEN_PID", "42")]), Ok(vec![]));
        assert_eq!(read(&[("LISTEN_PID", "43"), ("LISTEN_FDS", "nonsense")]), Ok(vec![]));
        assert_eq!(read(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "0"), ("LISTEN_FDNAMES", "")]), Ok(vec![]));
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named_with_its_value() {
        let table = [
            ("LISTEN_PID", vec![("LISTEN_PID", "me")]),
            ("LISTEN_FDS", vec![("LISTEN_PID", "42"), ("LISTEN_FDS", "-1")]),
            ("LISTEN_FDS", vec![("LISTEN_PID", "42"), ("LISTEN_FDS", "2147483647")]),
            ("LISTEN_FDNAMES", vec![("LISTEN_PID", "42"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a")]),
            ("LISTEN_FDNAMES", vec![("LISTEN_PID", "42"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "a:b")]),
        ];
        for (name, variables) in table {
            let error = read(&variables).unwrap_err();
            let (_, value) = variables.last().unwrap();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_socket_is_named_by_its_number_and_its_inode() {
        assert_eq!(number_and_inode("7:1234".as_ref()), Some((7, 1234)));
        for text in ["", "7", "7:", ":7", "7:x", "-1:7", "+7:7", "7:7:7", "99999999999:1"] {
            assert_eq!(number_and_inode(text.as_ref()), None, "{text}");
        }
    }
}
