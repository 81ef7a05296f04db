//! The look of a page: sizes, themes, screenshots, and what a checker of accessibility says of it.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Page;

/// The widths of a phone, a half of a screen, and a screen.
pub const WIDTHS: [u32; 3] = [360, 800, 1400];

/// The WCAG's levels A and AA.
const RULES: &str = "{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], resultTypes: ['violations'] }";

/// The theme that the system asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Page {
    /// Shows the page in this width and theme, without movement.
    pub async fn look(&mut self, width: u32, theme: Theme) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([
            { "name": "prefers-color-scheme", "value": theme.as_str() },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Writes a picture of what is seen to `target/screenshots/NAME.png`.
    pub async fn screenshot(&mut self, name: &str) {
        self.capture(name, json!({ "format": "png" })).await;
    }

    /// The same, without the empty rest below.
    pub async fn picture(&mut self, name: &str) {
        let size = "[innerWidth, document.querySelector('main').getBoundingClientRect().bottom]";
        let size = self.evaluate(size).await;
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        self.capture(name, json!({ "format": "png", "clip": clip })).await;
    }

    async fn capture(&mut self, name: &str, what: Value) {
        let shot = self.call("Page.captureScreenshot", what).await;
        let data = shot["data"].as_str().expect("a screenshot has data");
        let folder = root().join("target/screenshots");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let picture = STANDARD.decode(data).expect("it is base64");
        fs::write(folder.join(format!("{name}.png")), picture).expect("a picture can be written");
    }

    /// Returns what axe-core finds wrong with the page: the rule, and the elements that break it.
    ///
    /// # Panics
    /// axe-core is not installed.
    pub async fn accessibility(&mut self) -> Vec<String> {
        if self.evaluate("typeof axe").await == "undefined" {
            let path = root().join("target/tools/node_modules/axe-core/axe.min.js");
            let source = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}: run tools/deps test", path.display()));
            self.evaluate(&format!("{source}; 0")).await;
        }
        let found = self
            .evaluate(&format!(
                "axe.run(document, {RULES}).then(({{ violations }}) => violations.map(({{ id, nodes }}) => id + ': ' + \
                 nodes.slice(0, 3).map((node) => node.html + ' ' + node.failureSummary).join(' | ')))"
            ))
            .await;
        found.as_array().expect("axe answers a list").iter().map(ToString::to_string).collect()
    }

    /// Returns true if the page is not wider than the window.
    pub async fn fits(&mut self) -> bool {
        self.evaluate("document.documentElement.scrollWidth <= innerWidth").await == true
    }
}
