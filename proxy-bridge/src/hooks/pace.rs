//! The time that a sender may take for a body before anybody knows who it is.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::StatusCode;
use http_body_util::BodyExt as _;
use switchyard_edge::problem::Problem;
use tokio::time::{Instant, timeout_at};

/// The time for a body of which nothing has arrived. Forges send one in a single burst.
const FIRST: Duration = Duration::from_secs(5);
/// The bytes that add a second to it.
const BYTES_PER_SECOND: f64 = 64.0 * 1024.0;
/// The time for a whole body.
const MOST: Duration = Duration::from_secs(20);

/// The time for one body, from the end of the head: five seconds, and more for what has arrived, up
/// to twenty.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    allowed: Duration,
}

impl Pace {
    /// Begins now.
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), allowed: FIRST }
    }

    /// Returns the next part of a body, or `None` at its end.
    ///
    /// # Errors
    /// 408 if it does not arrive in time, 400 if the body breaks off.
    pub(super) async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Problem> {
        loop {
            let Ok(frame) = timeout_at(self.begun + self.allowed, body.frame()).await else {
                let detail = format!(
                    "the body did not arrive within {} seconds, or was too slow: send it again",
                    self.allowed.as_secs()
                );
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
            };
            let frame = frame.transpose().map_err(|error| {
                Problem::bad_request(format!("the body broke off: {error}: send it again"))
            })?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(part) = frame.into_data() {
                self.arrived(part.len());
                return Ok(Some(part));
            }
        }
    }

    /// Takes note of bytes that have arrived.
    fn arrived(&mut self, bytes: usize) {
        let earned = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        self.allowed = (self.allowed + earned).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    #[test]
    fn a_sender_has_five_seconds_and_more_for_each_part_up_to_twenty() {
        let mut pace = Pace::new();
        let mut seconds = |bytes| {
            pace.arrived(bytes);
            pace.allowed.as_secs()
        };
        assert_eq!([1, 64 * 1024, 128 * 1024, 1 << 20, 1 << 20].map(&mut seconds), [5, 6, 8, 20, 20]);
    }

    #[tokio::test]
    async fn a_body_that_is_too_slow_is_refused_and_a_whole_one_is_not() {
        let mut silent = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
        let mut over = Pace { allowed: Duration::ZERO, ..Pace::new() };
        let problem = over.next(&mut silent).await.unwrap_err();
        assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
        let (mut body, mut pace) = (Body::from("x"), Pace::new());
        assert_eq!(pace.next(&mut body).await.unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(pace.next(&mut body).await.unwrap(), None);
    }
}
