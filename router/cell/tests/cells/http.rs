//! A client that speaks HTTP/1.1 with a cell, and what requests and responses are made of.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::version::PATIENCE;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// The target that is sent: a whole URL, as from the router.
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// A response, as far as it does not depend on how it comes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Sorted, without `date` and those about the body's length.
    pub(crate) headers: Vec<(String, String)>,
    /// The length that is known before the body.
    pub(crate) length: Option<u64>,
    pub(crate) body: Vec<u8>,
    /// `true`: the body broke off.
    pub(crate) is_cut: bool,
}

impl Request {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        let headers = [
            ("host", "blog.example"),
            ("x-deno-client-address", "192.0.2.7:4321"),
            ("x-request-id", "r-1"),
            ("accept", "*/*"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        let target = format!("http://blog.example{path}");
        Self { method, path: path.to_owned(), target, headers, body: Vec::new() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let request = Self::new("POST", path).with("content-length", &body.len().to_string());
        Self { body, ..request }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            head.extend(format!("{name}: ").bytes());
            head.extend(value.chars().map(|char| u8::try_from(u32::from(char)).unwrap()));
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        head
    }
}

impl Response {
    pub(crate) fn new(status: u16, headers: Vec<(String, String)>, length: Option<u64>) -> Self {
        let apart = ["date", "content-length", "transfer-encoding", "connection"];
        let mut headers = headers;
        headers.retain(|(name, _)| !apart.contains(&name.as_str()));
        headers.sort();
        Self { status, headers, length, body: Vec::new(), is_cut: false }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request on a connection of its own, and returns that.
pub(crate) fn begin(socket: &Path, request: &Request) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request.head()).unwrap();
    let (mut writing, body) = (stream.try_clone().unwrap(), request.body.clone());
    // The server may answer before it has read the body, and may close then.
    std::thread::spawn(move || writing.write_all(&body));
    BufReader::new(stream)
}

/// Sends a request on a connection of its own. Returns the response.
pub(crate) fn send(socket: &Path, request: &Request) -> Response {
    let mut stream = begin(socket, request);
    let line = |stream: &mut BufReader<UnixStream>| {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).unwrap();
        line.iter().map(|byte| char::from(*byte)).collect::<String>().trim_end().to_owned()
    };
    let first = line(&mut stream);
    let Some(status) = first.split(' ').nth(1) else { return cut_before_the_head() };
    let status = status.parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let header = line(&mut stream);
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let value = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let length = value("content-length").map(|length| length.parse::<u64>().unwrap());
    let is_chunked = value("transfer-encoding").is_some();
    let mut response = Response::new(status, headers, length);
    if request.method == "HEAD" || matches!(status, 204 | 205 | 304) {
        return response;
    }
    if let Some(length) = length {
        let mut body = Vec::new();
        stream.take(length).read_to_end(&mut body).unwrap();
        response.is_cut = (body.len() as u64) < length;
        response.body = body;
    } else if is_chunked {
        loop {
            let size = line(&mut stream);
            let Ok(size) = u64::from_str_radix(&size, 16) else {
                response.is_cut = true;
                break;
            };
            let mut chunk = Vec::new();
            (&mut stream).take(size + 2).read_to_end(&mut chunk).unwrap();
            if size == 0 {
                break;
            }
            response.body.extend_from_slice(&chunk[..(size as usize).min(chunk.len())]);
        }
    }
    response
}

/// The response of a server that closes the connection instead.
pub(crate) fn cut_before_the_head() -> Response {
    Response { is_cut: true, ..Response::new(0, Vec::new(), None) }
}
