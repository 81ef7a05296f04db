//! The body of a request as a resource of Deno's, which streams read.

use std::borrow::Cow;
use std::future::poll_fn;
use std::rc::Rc;

use deno_core::{AsyncResult, BufMutView, BufView, Resource};
use deno_error::JsErrorBox;

use super::exchange::{Exchange, Gone};

/// A body that JavaScript reads.
pub(super) struct RequestBody {
    exchange: Rc<Exchange>,
    /// The value of `content-length`.
    length: Option<u64>,
}

impl RequestBody {
    /// Begins to read the body of `exchange`.
    pub(super) fn open(exchange: Rc<Exchange>) -> Self {
        exchange.begin_reading();
        let length = exchange.head().header("content-length");
        let length = length.and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
        Self { exchange, length }
    }
}

impl Resource for RequestBody {
    fn name(&self) -> Cow<'_, str> {
        "requestBody".into()
    }

    fn read(self: Rc<Self>, limit: usize) -> AsyncResult<BufView> {
        Box::pin(async move {
            let data = poll_fn(|cx| self.exchange.poll_read(cx, limit)).await;
            data.map(BufView::from).map_err(unavailable)
        })
    }

    fn read_byob(self: Rc<Self>, mut buffer: BufMutView) -> AsyncResult<(usize, BufMutView)> {
        Box::pin(async move {
            let filled = poll_fn(|cx| self.exchange.poll_fill(cx, &mut buffer)).await;
            Ok((filled.map_err(unavailable)?, buffer))
        })
    }

    fn size_hint(&self) -> (u64, Option<u64>) {
        (self.length.unwrap_or(0), self.length)
    }

    fn close(self: Rc<Self>) {
        self.exchange.stop_reading();
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.exchange.stop_reading();
    }
}

/// The error that Deno's own server has for it.
fn unavailable(_: Gone) -> JsErrorBox {
    JsErrorBox::new("BadResource", "Cannot read request body as underlying resource unavailable")
}
