//! Bodies that are copied in turns: a body that arrives in single bytes, as fast as it is read,
//! takes no more than its share of a thread.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

use super::turn::Turn;
use switchyard_contract::bounds;

/// A body that joins small frames if they are available already, and yields to other tasks.
#[derive(Debug)]
pub struct FairBody<B: Body> {
    body: B,
    turn: Turn,
    /// The frame that came while small ones were joined, and is not one of them. Boxed, because it
    /// is rare.
    ahead: Option<Box<NextFrame<B::Error>>>,
}

/// The next item of a body: a frame, an error or the end.
type NextFrame<E> = Option<Result<Frame<Bytes>, E>>;

impl<B: Body<Data = Bytes> + Unpin> FairBody<B> {
    /// Wraps `body`.
    pub fn new(body: B) -> Self {
        Self { body, turn: Turn::default(), ahead: None }
    }

    /// The body itself.
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame<B::Error>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        match &next {
            Poll::Ready(Some(Ok(frame))) => self.turn.count(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(_) => {}
            Poll::Pending => self.turn.end(),
        }
        next
    }

    /// Appends the small frames that are available already to a small frame.
    fn join(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut joined = BytesMut::new();
        while self.turn.lasts() && joined.len() < bounds::JOINED_FRAME && !self.body.is_end_stream() {
            let Poll::Ready(next) = self.poll_next(cx) else { break };
            match small(next) {
                Ok(data) => {
                    if joined.is_empty() {
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&data);
                }
                Err(next) => {
                    self.ahead = Some(Box::new(next));
                    break;
                }
            }
        }
        if joined.is_empty() { first } else { joined.freeze() }
    }
}

/// Returns the data of a small frame, and anything else as an error.
fn small<E>(next: NextFrame<E>) -> Result<Bytes, NextFrame<E>> {
    match next {
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) if data.len() < bounds::SMALL_FRAME => Ok(data),
            Ok(data) => Err(Some(Ok(Frame::data(data)))),
            Err(other) => Err(Some(Ok(other))),
        },
        other => Err(other),
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for FairBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame<B::Error>> {
        let this = self.get_mut();
        if let Some(ahead) = this.ahead.take() {
            return Poll::Ready(*ahead);
        }
        ready!(this.turn.poll_begin(cx));
        match small(ready!(this.poll_next(cx))) {
            Ok(data) => Poll::Ready(Some(Ok(Frame::data(this.join(data, cx))))),
            Err(next) => Poll::Ready(next),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(ahead) => ahead.is_none(),
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = match self.ahead.as_deref() {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        let hint = self.body.size_hint();
        let mut with_ahead = SizeHint::new();
        if let Some(upper) = hint.upper() {
            with_ahead.set_upper(upper + ahead);
        }
        with_ahead.set_lower(hint.lower() + ahead);
        with_ahead
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use http::HeaderMap;
    use proptest::prelude::*;
    use tokio::task::yield_now;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Data(usize),
        Pending,
        Trailers,
        Fails,
    }

    /// A body that carries out its steps, then ends.
    #[derive(Debug, Default)]
    struct Scripted {
        steps: VecDeque<Step>,
        next: u8,
        sent: Vec<u8>,
        knows_its_end: bool,
    }

    impl Body for Scripted {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame<&'static str>> {
            let this = &mut *self;
            Poll::Ready(match this.steps.pop_front() {
                Some(Step::Data(length)) => {
                    let data: Vec<u8> = std::iter::repeat_with(|| {
                        this.next = this.next.wrapping_add(1);
                        this.next
                    })
                    .take(length)
                    .collect();
                    this.sent.extend(&data);
                    Some(Ok(Frame::data(data.into())))
                }
                Some(Step::Pending) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
                Some(Step::Fails) => Some(Err("broken off")),
                None => None,
            })
        }

        fn is_end_stream(&self) -> bool {
            self.knows_its_end && self.steps.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            let length = |step: &Step| if let Step::Data(length) = step { *length as u64 } else { 0 };
            SizeHint::with_exact(self.steps.iter().map(length).sum())
        }
    }

    fn body(steps: impl IntoIterator<Item = Step>, knows_its_end: bool) -> FairBody<Scripted> {
        let steps = steps.into_iter().collect();
        FairBody::new(Scripted { steps, knows_its_end, ..Scripted::default() })
    }

    async fn next(body: &mut FairBody<Scripted>) -> NextFrame<&'static str> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    #[tokio::test]
    async fn single_bytes_that_are_available_are_joined_without_waiting() {
        let mut two = body([Step::Data(1), Step::Data(1), Step::Pending, Step::Data(1)], false);
        let mut lengths = Vec::new();
        while let Some(frame) = next(&mut two).await {
            lengths.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(lengths, [2, 1]);
    }

    #[tokio::test]
    async fn a_large_frame_is_passed_on_unchanged() {
        let mut large = body([Step::Data(1), Step::Data(5_000), Step::Data(1)], true);
        for length in [1, 5_000, 1] {
            assert!(!large.is_end_stream());
            assert_eq!(next(&mut large).await.unwrap().unwrap().into_data().unwrap().len(), length);
        }
        assert!(large.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_without_end_lets_others_have_their_turns() {
        for (length, frames) in [(1, bounds::TURN_FRAMES), (16 << 10, bounds::TURN_BYTES / (16 << 10))] {
            let mut endless = body(std::iter::repeat_n(Step::Data(length), 100 * frames), false);
            let turns = std::cell::Cell::new(0);
            let copying = async { while next(&mut endless).await.is_some() {} };
            let others = async {
                loop {
                    turns.set(turns.get() + 1);
                    yield_now().await;
                }
            };
            tokio::select! {
                () = copying => {}
                () = others => {}
            }
            assert!(turns.get() >= 99, "{} turns of others in 100 of frames of {length} bytes", turns.get());
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..4_usize).prop_map(Step::Data),
            2 => (1_000..3_000_usize).prop_map(Step::Data),
            2 => Just(Step::Pending),
            1 => Just(Step::Trailers),
            1 => Just(Step::Fails),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #![proptest_config(crate::fuzz())]

        #[test]
        fn nothing_is_lost_and_nothing_changes_its_order(steps in steps(), knows_its_end: bool) {
            let of = |kind: fn(&Step) -> bool| steps.iter().filter(|step| kind(step)).count();
            let others = (
                of(|step| matches!(step, Step::Trailers)),
                of(|step| matches!(step, Step::Fails)),
            );
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut received, mut seen) = (Vec::new(), (0, 0));
            let mut body = body(steps, knows_its_end);
            let whole = body.size_hint().exact().unwrap();
            runtime.block_on(async {
                loop {
                    assert_eq!(body.size_hint().exact().unwrap() + received.len() as u64, whole);
                    match next(&mut body).await {
                        None => break,
                        Some(Err(_)) => seen.1 += 1,
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) => {
                                assert!(data.len() < bounds::JOINED_FRAME + bounds::SMALL_FRAME);
                                received.extend(data);
                            }
                            Err(_) => seen.0 += 1,
                        },
                    }
                    if body.is_end_stream() {
                        break;
                    }
                }
            });
            prop_assert_eq!(seen, others);
            prop_assert_eq!(&received, &body.get_ref().sent);
            prop_assert!(body.get_ref().steps.is_empty());
        }
    }
}
