//! Uploads as browsers and curl send them, byte by byte, and malformed ones.

use bytes::Bytes;
use http::Request;

use crate::client::{Body, post, with_header};

pub mod archive;
pub mod wire;

/// The bytes behind the last boundary.
const LAST: &[u8] = b"--\r\n";

/// A `multipart/form-data` body.
#[derive(Debug, Clone)]
pub struct Upload {
    boundary: String,
    body: Vec<u8>,
    /// The end of each part, including the boundary behind it.
    ends: Vec<usize>,
}

/// One part: the lines of its head, and its content.
#[derive(Debug, Clone)]
pub struct Part {
    head: Vec<u8>,
    content: Vec<u8>,
}

impl Part {
    /// With these lines as its head, as they are; each without the line's end.
    pub fn raw<L: AsRef<[u8]>>(head: &[L], content: impl AsRef<[u8]>) -> Self {
        let head = head.iter().flat_map(|line| [line.as_ref(), b"\r\n"].concat()).collect();
        Self { head, content: content.as_ref().to_owned() }
    }

    /// A file by its filename, as written between the quotes.
    pub fn file(filename: &str, content: impl AsRef<[u8]>) -> Self {
        Self::named("file", filename, content)
    }

    /// A file in the field of that name.
    pub fn named(field: &str, filename: &str, content: impl AsRef<[u8]>) -> Self {
        let disposition =
            format!("Content-Disposition: form-data; name=\"{field}\"; filename=\"{filename}\"");
        Self::raw(&[disposition.as_str(), "Content-Type: application/octet-stream"], content)
    }

    /// A part without a filename.
    pub fn field(field: &str, content: impl AsRef<[u8]>) -> Self {
        Self::raw(&[&format!("Content-Disposition: form-data; name=\"{field}\"")], content)
    }
}

impl Upload {
    /// An upload as Chrome sends a form with `<input type=file name=files webkitdirectory>`: each
    /// filename begins with the chosen folder.
    pub fn browser<B: AsRef<[u8]>>(folder: &str, files: &[(&str, B)]) -> Self {
        let part = |(path, content): &(&str, B)| {
            // Characters that the form's encoding escapes:
            // https://html.spec.whatwg.org/#multipart-form-data
            let path = path.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
            let disposition =
                format!("Content-Disposition: form-data; name=\"files\"; filename=\"{folder}/{path}\"");
            Part::raw(&[disposition.as_str(), browsers_type(&path)], content)
        };
        let parts: Vec<_> = files.iter().map(part).collect();
        Self::raw("----WebKitFormBoundary7MA4YWxkTrZu0gW", &parts)
    }

    /// An upload as `curl -F 'file=@x;filename=…'` sends it, once for each file.
    pub fn curl<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Self {
        let part = |(path, content): &(&str, B)| Part::file(&path.replace('"', "%22"), content);
        let parts: Vec<_> = files.iter().map(part).collect();
        Self::raw("------------------------d74496d66958873e", &parts)
    }

    /// One file, `main.ts`.
    pub fn main(text: impl AsRef<[u8]>) -> Self {
        Self::curl(&[("main.ts", text)])
    }

    /// One part with an archive: see [`archive`].
    pub fn archive(filename: &str, content: impl AsRef<[u8]>) -> Self {
        Self::raw("------------------------d74496d66958873e", &[Part::file(filename, content)])
    }

    /// Any parts behind any boundary.
    pub fn raw(boundary: &str, parts: &[Part]) -> Self {
        let body = format!("--{boundary}--\r\n").into_bytes();
        let none = Self { boundary: boundary.to_owned(), body, ends: Vec::new() };
        parts.iter().fold(none, |upload, part| upload.and(part))
    }

    /// With one part more at the end.
    #[must_use]
    pub fn and(mut self, part: &Part) -> Self {
        self.body.truncate(self.body.len() - LAST.len());
        self.body.extend([b"\r\n", part.head.as_slice(), b"\r\n", &part.content].concat());
        self.body.extend(format!("\r\n--{}", self.boundary).into_bytes());
        self.ends.push(self.body.len() + b"\r\n".len());
        self.body.extend(LAST);
        self
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the end of a part in the body, including the boundary behind it.
    pub fn end_of(&self, part: usize) -> usize {
        self.ends[part]
    }

    /// `POST path` with the whole of it.
    pub fn to(&self, path: &str) -> Request<Body> {
        with_header(post(path, Bytes::from(self.body.clone())), "content-type", &self.content_type())
    }
}

/// The content type that Chrome assigns: `.ts` is MPEG video.
fn browsers_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("ts") => "Content-Type: video/mp2t",
        Some("js") => "Content-Type: text/javascript",
        Some("json") => "Content-Type: application/json",
        Some("html") => "Content-Type: text/html",
        Some("txt") => "Content-Type: text/plain",
        _ => "Content-Type: application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_bytes_that_a_browser_sends() {
        let upload = Upload::browser("blog", &[("main.ts", "x")]);
        assert_eq!(
            String::from_utf8_lossy(upload.body()),
            "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n\
             Content-Disposition: form-data; name=\"files\"; filename=\"blog/main.ts\"\r\n\
             Content-Type: video/mp2t\r\n\r\nx\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n"
        );
    }
}
