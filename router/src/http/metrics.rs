//! The public listener's part of the router's metrics.

use switchyard_edge::listener::{ConnectionLimit, ListenerMetrics};

use crate::metrics::{BoundLabel, Metrics};

impl ListenerMetrics for Metrics {
    fn connection_opened(&self) {
        self.connections.inc();
    }

    fn connection_closed(&self) {
        self.connections.dec();
    }

    fn connection_refused(&self, limit: ConnectionLimit) {
        let bound = match limit {
            ConnectionLimit::All => BoundLabel::all,
            ConnectionLimit::Client => BoundLabel::client,
        };
        self.connections_refused.get_or_create(&bound.into()).inc();
    }

    fn request_refused(&self) {
        self.requests_refused.inc();
    }
}
