//! The files of a version that the router answers with itself.

use std::path::PathBuf;
use std::sync::Arc;

use switchyard_protocol::assets::{AssetMatch, Assets};

use crate::checkout::{Checkout, FileHash, FileHashes};
use crate::drain::InFlight;

/// The files of a version that are served without its code. The version's checkout is not pruned
/// while one of these exists.
#[derive(Debug)]
pub(crate) struct LiveSite {
    pub(crate) assets: Assets,
    /// `true`: the version has no code, so a path without a file is answered with 404.
    pub(crate) is_all: bool,
    contents: Arc<FileHashes>,
    checkout: Checkout,
    /// The answers under way.
    pub(crate) in_flight: Arc<InFlight>,
}

impl LiveSite {
    pub(crate) fn new(assets: Assets, is_all: bool, contents: Arc<FileHashes>, checkout: Checkout) -> Self {
        Self { assets, is_all, contents, checkout, in_flight: Arc::default() }
    }

    /// Finds the file for the path of a URL.
    pub(crate) fn find(&self, path: &str) -> AssetMatch {
        self.assets.find(path, |file| self.has(file))
    }

    /// The page that is sent with status 404 for the path of a URL.
    pub(crate) fn not_found(&self, path: &str) -> Option<String> {
        self.assets.not_found(path, |file| self.has(file))
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.contents.contains_key(file)
    }

    /// The SHA-256 of a file's content.
    pub(crate) fn hash(&self, file: &str) -> Option<&FileHash> {
        self.contents.get(file)
    }

    /// The path in the checkout of a file that is named relative to the project.
    pub(crate) fn path_of(&self, file: &str) -> PathBuf {
        self.checkout.dir.join(file)
    }
}
