//! Bounds on all input from processes that are not trusted: the cell of a project, the process that
//! fetches packages for it and, in the bridge, a router. This module has all of them, with their
//! units and reasons.
//!
//! The receiver applies them, regardless of the sender: a cell may be under the control of its
//! project.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer};

/// Bytes of a [`Diagnostic`](crate::event::Diagnostic)'s message: an error with its causes fills a
/// few screens. It is kept in a thousand events, on the status board and in records of deploys.
pub const DIAGNOSTIC_MESSAGE: usize = 8 << 10;

/// Bytes of its code frame: five lines of 160 characters, of at most four bytes each.
pub const DIAGNOSTIC_FRAME: usize = 4 << 10;

/// Bytes of its file: a path that people can still read.
pub const DIAGNOSTIC_FILE: usize = 1 << 10;

/// Bytes of a build error's message that clients get, besides its location: enough for the first
/// line.
pub const CLIENT_MESSAGE: usize = 512;

/// Bytes of the text that says how a cell ended: its last line of output, with the lines that led
/// to it.
pub const DEATH_MESSAGE: usize = 2 << 10;

/// Bytes that are quoted of malformed input: the text of a parser's error repeats parts of it.
pub const QUOTED: usize = 512;

/// Bytes of a control line from a cell, and of an answer of the process that fetches packages: a
/// diagnostic with each of its bytes escaped as six, and the JSON around it.
pub const CONTROL_LINE: usize = 128 << 10;
const _: () = assert!(6 * (DIAGNOSTIC_MESSAGE + DIAGNOSTIC_FRAME + DIAGNOSTIC_FILE) + 1024 <= CONTROL_LINE);

/// Control lines from one cell: that it is ready, that it serves or why not, and the limit that it
/// exceeded, with room for additions. A cell that sends more is ended.
pub const CONTROL_LINES: usize = 16;

/// Bytes of a control line from a cell that runs a job: a result that is as large as any policy
/// allows.
pub const JOB_LINE: usize = 64 << 20;

/// Control lines from a cell that runs a job: two for each of its steps, and those of every cell.
pub const JOB_LINES: usize = 2 * MAX_STEPS + CONTROL_LINES;

/// Bytes of a file that starts a task, up to which its content is part of the run's input.
pub const FILE_CONTENT: usize = 1 << 20;

/// Files that a router has picked up and whose runs have not ended. Each is a run that waits or is
/// under way, of which one project has a few hundred at most; further files wait where they are.
pub const FILE_OFFERS: usize = 1000;

/// Bytes of `POST /_runs`: parameters, input, and the results of the steps that an earlier attempt
/// has finished.
pub const RUN_REQUEST: usize = 32 << 20;

/// Tasks of a project, and pipelines: each due time and each build walks them.
pub const MAX_TASKS: usize = 1_000;

/// Steps of a pipeline, and of a run that is written with `ctx.step`: their results are sent to
/// each attempt.
pub const MAX_STEPS: usize = 1_000;

/// Runs above a step: a step of a pipeline or of a task has one, a step of that step two. Runs that wait for
/// steps keep their processes, so a router has at most this many times its limit of them besides those
/// that do not wait.
pub const MAX_STEP_DEPTH: u32 = 4;

/// Bytes of the parameters of a run, and of its input, as JSON each: what a webhook may send.
pub const RUN_INPUT: usize = 1 << 20;

/// Bytes that are read from standard error of the process that fetches packages, lines of it that
/// are logged, and bytes of each: npm's warnings about a large tree.
pub const INSTALLER_OUTPUT: u64 = 64 << 10;
/// See [`INSTALLER_OUTPUT`].
pub const INSTALLER_LINES: usize = 64;
/// See [`INSTALLER_OUTPUT`].
pub const INSTALLER_LINE: usize = 1 << 10;

/// Bytes of one record of output. A longer line is split into marked pieces: lines of JSON with a
/// stack or a request in them are tens of kilobytes. Of a line of more than three pieces the first
/// and the last two are kept, which leaves room for others in [`KEPT_OUTPUT`].
pub const OUTPUT_LINE: usize = 64 << 10;

/// Lines that are read of one stream of a cell in an [`OUTPUT_WINDOW`], and their bytes: 20,000
/// lines or 10 MB a second. A cell that prints more waits for its output to be read, as it would
/// for a slow terminal.
pub const OUTPUT_LINES: usize = 2_000;
/// See [`OUTPUT_LINES`].
pub const OUTPUT_BYTES: usize = 1 << 20;
/// See [`OUTPUT_LINES`].
pub const OUTPUT_WINDOW: Duration = Duration::from_millis(100);

/// The last lines of a stream that are kept to say how a cell ended, and the bytes of each: V8's
/// last words come before the C++ stack that it prints after them.
pub const LAST_LINES: usize = 64;
/// See [`LAST_LINES`].
pub const LAST_LINE: usize = 1 << 10;

/// Lines kept per project for readers of its log, and bytes of their text, whichever is less.
pub const KEPT_LINES: usize = 1_000;
/// See [`KEPT_LINES`].
pub const KEPT_OUTPUT: usize = 256 << 10;

/// Requests kept per project for readers. A router with many projects that have some keeps fewer of
/// each, so that it keeps about [`KEPT_REQUESTS_OF_ALL`] of them: 40 MB.
pub const KEPT_REQUESTS: usize = 500;
/// See [`KEPT_REQUESTS`].
pub const KEPT_REQUESTS_OF_ALL: usize = 200_000;

/// Bytes of a path that are recorded of a request, and of its method: the longest registered one has
/// 17.
pub const RECORDED_PATH: usize = 256;
/// See [`RECORDED_PATH`].
pub const RECORDED_METHOD: usize = 20;

/// Bytes of a header, or of a query, in the access log.
pub const RECORDED_HEADER: usize = 512;

/// Bytes of a request's id in a line of output: UUIDs have 36, traces with their spans 55.
pub const REQUEST_ID: usize = 64;

/// The most headers that a request, a response or the trailers of either may have, within the limit
/// in bytes (`--max-head`). hyper allocates room for that many with each head; beyond this number
/// the allocator asks the kernel for it each time, which takes ten times as long as the rest of the
/// parsing.
pub const MAX_HEADERS: usize = 4096;

/// Bytes of an answer that are read at once before its head is complete: hyper looks at all heads
/// of 1xx in one go, each of which takes microseconds. More than nearly all heads have.
pub const HEAD_READ: usize = 8 << 10;

/// Frames, or reads, of a body in one turn, and their bytes. Then the other tasks of the thread
/// have theirs: a frame takes about a microsecond, and a megabyte some hundred.
pub const TURN_FRAMES: usize = 64;
/// See [`TURN_FRAMES`].
pub const TURN_BYTES: usize = 128 << 10;

/// Bytes that a frame of the transport counts as in a turn, at least: the time that it takes is not
/// that of its bytes.
pub const FRAME_WEIGHT: usize = 256;

/// Bytes of a head that are read of a frame, in order to fail its request alone if they are more
/// than `--max-head`. A larger one ends the connection, and all requests on it.
pub const FRAMED_HEAD: usize = 1 << 20;

/// Pieces of a body of fewer bytes are copied out of the buffer that they were read into: a piece
/// that waits for its client keeps all of that buffer, of up to eight times as much.
pub const COPIED_PIECE: usize = 16 << 10;

/// Bytes that wait to be written to a cell on a connection of the transport, from which on no
/// request begins and no body goes on: a cell that does not read costs this much, one head, and a
/// few bytes for each request.
pub const WAITING_FRAMES: usize = 256 << 10;

/// Bytes that a cell may still send on a stream that the router has reset, before it knows: its
/// window of 256 KiB in frames of one byte, and a head.
pub const FRAMES_AFTER_RESET: usize = 4 << 20;

/// Bytes that a cell may send on a stream that has ended: credit for a body that it has read.
pub const FRAMES_AFTER_END: usize = 128;

/// Frames of fewer bytes than the first number are joined, up to the second number of bytes, if the
/// next one is already available: writing each on its own costs more than copying it.
pub const SMALL_FRAME: usize = 1 << 10;
/// See [`SMALL_FRAME`].
pub const JOINED_FRAME: usize = 16 << 10;

/// Bytes of the head that answers a health check: the default of `--max-head`.
pub const HEALTH_HEAD: usize = 64 << 10;

/// Bytes of the head by which a cell takes a debugger: it has three headers.
pub const INSPECTOR_HEAD: usize = 4 << 10;

/// Bytes of `Sec-WebSocket-Accept`: a SHA-1 in base64 (RFC 6455, 4.2.2).
pub const WEBSOCKET_ACCEPT: usize = 28;

/// Levels of a project's own folders that are counted. Packages that nest and caches stay below
/// forty; each level holds a descriptor while it is counted.
pub const COUNTED_DEPTH: usize = 128;

/// Events that `GET /events` can replay: usually half a kilobyte each, and at most 15.
pub const KEPT_EVENTS: usize = 1_000;

/// Reloads and deaths that are kept of each project: all deaths that lead to a stop, and some from
/// before.
pub const KEPT_RELOADS: usize = 10;
/// See [`KEPT_RELOADS`].
pub const KEPT_DEATHS: usize = 10;

/// Bytes of a router's answer that is not streamed: the full statuses of ten thousand projects.
pub const ROUTER_ANSWER: usize = 64 << 20;

/// Bytes of a router's answer that is an error.
pub const ROUTER_PROBLEM: usize = 64 << 10;

/// Bytes of an event that is posted to the bridge: one with a diagnostic, each byte of which is
/// escaped as six.
pub const POSTED_EVENT: usize = 256 << 10;
const _: () = assert!(CONTROL_LINE < POSTED_EVENT);

/// Bytes of an event in a stream, and of its longest line. From routers, a failed build's has some
/// kilobytes; from a bridge, a deploy's record with a thousand diagnostics has a tenth of this.
pub const STREAMED_EVENT: usize = 16 << 20;

/// Length of the longest note about omitted bytes.
const NOTE: usize = "… (18446744073709551615 bytes left out)".len();

/// Returns a text of at most `most` bytes: the beginning of a longer one, which ends between two
/// characters and with a note that says how much is missing.
#[must_use]
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = text.floor_char_boundary(most.saturating_sub(NOTE));
    let note = format!("… ({} bytes left out)", text.len() - end);
    text.truncate(end);
    text.push_str(&note);
    // The capacity of the original text is not kept either.
    text.shrink_to_fit();
    text
}

/// Reads a text, and [cuts](cut) it.
pub(crate) fn read_text<'de, D: Deserializer<'de>>(from: D, most: usize) -> Result<String, D::Error> {
    Ok(cut(String::deserialize(from)?, most))
}

/// Reads a text that may be missing, and [cuts](cut) it.
pub(crate) fn read_option<'de, D: Deserializer<'de>>(
    from: D,
    most: usize,
) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|text| cut(text, most)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_with_a_note_of_the_omitted_bytes() {
        assert_eq!(cut("short".into(), 100), "short");
        let cut = cut("ä".repeat(500), 101);
        let kept = cut.chars().filter(|c| *c == 'ä').count();
        assert_eq!(cut, format!("{}… ({} bytes left out)", "ä".repeat(kept), 1000 - 2 * kept));
        assert!(cut.len() <= 101 && cut.capacity() < 200);
    }

    proptest! {
        #![proptest_config(crate::fuzz())]

        #[test]
        fn no_text_is_longer_than_its_bound(text in "\\PC{0,400}|[\u{0}-\u{2fff}]{0,400}", most in NOTE..600) {
            let shown = cut(text.clone(), most);
            prop_assert!(shown.len() <= most);
            prop_assert_eq!(cut(shown.clone(), most), shown.clone(), "it is cut once");
            match shown.rfind("… (").filter(|_| text.len() > most) {
                None => prop_assert_eq!(shown, text),
                Some(end) => {
                    prop_assert!(text.starts_with(&shown[..end]));
                    let note = format!("… ({} bytes left out)", text.len() - end);
                    prop_assert_eq!(&shown[end..], note.as_str());
                }
            }
        }
    }
}
