//! A client that speaks frames with a cell, as a thread of the router does.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::BytesMut;
use switchyard_protocol::frame::{
    Content, Decoder, Frame, HeadLimits, MAX_DATA, ReceiveCredit, ResponseHead, SendCredit, Sender, encode,
};

use crate::http::{Request, Response, cut_before_the_head};
use crate::version::PATIENCE;

pub(crate) const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 16, headers: 100 };

/// A connection to a cell.
pub(crate) struct Frames {
    pub(crate) socket: UnixStream,
    input: BytesMut,
    last: u32,
    /// Credit for responses, and what requests have left.
    received: HashMap<u32, ReceiveCredit>,
    credit: HashMap<u32, SendCredit>,
    /// Frames of streams that nobody waits for yet.
    others: VecDeque<Frame>,
}

impl Frames {
    pub(crate) fn connect(socket: &Path) -> Self {
        let socket = UnixStream::connect(socket).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (received, credit, others) = Default::default();
        Self { socket, input: BytesMut::new(), last: 0, received, credit, others }
    }

    /// Appends the frame of a request, with the beginning of its body. Returns its stream.
    pub(crate) fn request(&mut self, output: &mut BytesMut, request: &Request, end: bool) -> u32 {
        self.last += 1;
        let latin = |value: &str| value.chars().map(|char| char as u8).collect::<Vec<_>>();
        let headers = request.headers.iter().map(|(name, value)| (*name, latin(value)));
        encode::request(output, self.last, request.method, &[&request.target], headers, (&request.body, end))
            .unwrap();
        let mut credit = SendCredit::default();
        credit.spend(request.body.len());
        self.credit.insert(self.last, credit);
        self.received.insert(self.last, ReceiveCredit::default());
        self.last
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Begins a request, whose body may go on.
    pub(crate) fn begin(&mut self, request: &Request, end: bool) -> u32 {
        let mut output = BytesMut::new();
        let stream = self.request(&mut output, request, end);
        self.write(&output);
        stream
    }

    /// Returns the next frame. `None`: the cell has closed the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let decoder = Decoder::new(Sender::Cell, LIMITS);
        loop {
            if let Some(frame) = decoder.decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            let mut buffer = [0; 1 << 16];
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&buffer[..read]),
                // It was closed before all that was sent had been read.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Returns the next frame of a stream. Those of others stay for later.
    fn next_of(&mut self, stream: u32) -> Option<Frame> {
        if let Some(at) = self.others.iter().position(|frame| frame.stream == stream) {
            return self.others.remove(at);
        }
        loop {
            match self.next()? {
                frame if frame.stream == stream => return Some(frame),
                frame => self.others.push_back(frame),
            }
        }
    }

    /// Takes the bytes of a body, and gives the cell credit for more.
    pub(crate) fn take(&mut self, stream: u32, bytes: usize) {
        let credit = self.received.get_mut(&stream).unwrap();
        credit.receive(bytes).unwrap();
        if let Some(more) = credit.take(bytes) {
            let mut output = BytesMut::new();
            encode::credit(&mut output, stream, more);
            self.write(&output);
        }
    }

    /// Sends a request. Returns the response.
    pub(crate) fn send(&mut self, request: &Request) -> Response {
        let whole = request.body.len() <= MAX_DATA;
        let first =
            Request { body: request.body[..request.body.len().min(MAX_DATA)].to_vec(), ..request.clone() };
        let stream = self.begin(&first, whole);
        let rest = request.body[first.body.len()..].to_vec();
        self.finish(stream, request.method == "HEAD", rest)
    }

    /// Sends the rest of a request as the cell takes it. Returns the response.
    pub(crate) fn finish(&mut self, stream: u32, is_head: bool, mut rest: Vec<u8>) -> Response {
        let mut response: Option<Response> = None;
        loop {
            let sendable = self.credit[&stream].left().min(rest.len()).min(MAX_DATA);
            if sendable > 0 {
                let mut output = BytesMut::new();
                let part: Vec<_> = rest.drain(..sendable).collect();
                encode::data(&mut output, stream, &part, rest.is_empty());
                self.credit.get_mut(&stream).unwrap().spend(sendable);
                self.write(&output);
                continue;
            }
            let Some(frame) = self.next_of(stream) else {
                return response
                    .map_or_else(cut_before_the_head, |response| Response { is_cut: true, ..response });
            };
            match frame.content {
                Content::Response(payload) => {
                    let (head, body) = ResponseHead::parse(payload, LIMITS).unwrap();
                    self.take(stream, body.len());
                    let mut begun = response_of(&head, &body, frame.end && !is_head);
                    begun.body = body.to_vec();
                    response = Some(begun);
                }
                Content::Data(data) => {
                    self.take(stream, data.len());
                    response.as_mut().unwrap().body.extend_from_slice(&data);
                }
                Content::Reset { .. } => {
                    return response
                        .map_or_else(cut_before_the_head, |response| Response { is_cut: true, ..response });
                }
                Content::Credit(bytes) => self.credit.get_mut(&stream).unwrap().add(bytes).unwrap(),
                other => panic!("{other:?}"),
            }
            if frame.end {
                return response.unwrap();
            }
        }
    }
}

fn response_of(head: &ResponseHead, body: &[u8], is_whole: bool) -> Response {
    let text = |value: &[u8]| value.iter().map(|byte| char::from(*byte)).collect::<String>();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    let headers: Vec<_> = headers.collect();
    let named = head.headers.get("content-length").map(|length| text(length.as_bytes()).parse().unwrap());
    let status = head.status.as_u16();
    let has_none = matches!(status, 204 | 205 | 304);
    let length = named.or_else(|| (is_whole && !has_none).then_some(body.len() as u64));
    Response::new(status, headers, length)
}
