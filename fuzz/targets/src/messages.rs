//! The greetings of a tunnel and of a stream, and what a control plane tells a node.

use adit_proto::connect::{Request, Response};
use adit_proto::control::{EVENT_HEAD_BYTES, Event};
use adit_proto::hello::{Answer, Hello};
use adit_proto::limits::{CONNECT_BYTES_MAX, HELLO_BYTES_MAX};

use crate::input::judged_alike;

/// [`Hello::decode`] and [`Answer::decode`]: what is read is written back to something that reads the same.
pub fn hello(data: &[u8]) {
    judged_alike(data, |bytes| Hello::decode(bytes).transpose());
    judged_alike(data, |bytes| Answer::decode(bytes).transpose());
    if let Ok(Some((hello, used))) = Hello::decode(data) {
        assert!(used <= data.len() && used <= HELLO_BYTES_MAX);
        let mut written = Vec::new();
        hello
            .encode(&mut written)
            .expect("what was read can be written");
        // Shorter when it held fields of a later version.
        assert!(written.len() <= used);
        assert_eq!(Hello::decode(&written), Ok(Some((hello, written.len()))));
    }
    if let Ok(Some((answer, used))) = Answer::decode(data) {
        assert!(used <= data.len() && used <= HELLO_BYTES_MAX);
        let mut written = Vec::new();
        answer
            .encode(&mut written)
            .expect("what was read can be written");
        assert!(written.len() <= used);
        assert_eq!(Answer::decode(&written), Ok(Some((answer, written.len()))));
    }
}

/// [`Request::decode`] and [`Response::decode`], likewise.
pub fn connect(data: &[u8]) {
    judged_alike(data, |bytes| {
        let owned = |(request, used): (Request<'_>, usize)| (format!("{request:?}"), used);
        Request::decode(bytes)
            .map(|read| read.map(owned))
            .transpose()
    });
    judged_alike(data, |bytes| Response::decode(bytes).transpose());
    if let Ok(Some((request, used))) = Request::decode(data) {
        assert!(used <= data.len() && used <= CONNECT_BYTES_MAX);
        assert!(request.port != 0 && !request.host.is_empty() && !request.subaccount.is_empty());
        let mut written = Vec::new();
        request
            .encode(&mut written)
            .expect("what was read can be written");
        assert!(written.len() <= used);
        assert_eq!(
            Request::decode(&written),
            Ok(Some((request, written.len())))
        );
    }
    if let Ok(Some((response, used))) = Response::decode(data) {
        assert!(used <= data.len());
        let mut written = Vec::new();
        response.encode(&mut written);
        assert!(written.len() <= used);
        assert_eq!(
            Response::decode(&written),
            Ok(Some((response, written.len())))
        );
    }
}

/// [`Event::decode`], over a row of events: what is read is written back to something that reads the same, and a row that
/// is cut anywhere reads as its whole events.
pub fn control_event(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((event, used))) = Event::decode(rest) {
        assert!(used >= EVENT_HEAD_BYTES && used <= rest.len());
        assert_eq!(
            Event::decode(&rest[..used]),
            Ok(Some((event.clone(), used)))
        );
        assert!(Event::decode(&rest[..used - 1]).is_ok_and(|read| read.is_none()));
        if let Some(event) = event {
            let mut written = Vec::new();
            event.encode(&mut written);
            let length = written.len();
            // Longer when a character is escaped that was not; then it may be too long.
            if let Ok(read) = Event::decode(&written) {
                assert_eq!(read, Some((Some(event), length)));
            }
        }
        rest = &rest[used..];
    }
}
