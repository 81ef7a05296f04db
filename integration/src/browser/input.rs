//! Keys, clicks and drops, as the browser gets them from a person.

use std::path::Path;

use serde_json::{Value, json};

use super::Page;

/// A key without a character of its own.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    Tab,
    Enter,
    Escape,
}

impl Key {
    fn event(self) -> Value {
        match self {
            Self::Tab => json!({ "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 }),
            Self::Enter => {
                json!({ "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" })
            }
            Self::Escape => json!({ "key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27 }),
        }
    }
}

impl Page {
    /// Presses a key.
    pub async fn press(&mut self, key: Key) {
        self.strike(key.event()).await;
    }

    /// Types a text, key by key.
    pub async fn type_text(&mut self, text: &str) {
        for character in text.chars() {
            self.strike(json!({ "key": character.to_string(), "text": character.to_string() })).await;
        }
    }

    /// Presses Tab until an expression about the focused element `e` is true: at most 60 times.
    ///
    /// # Panics
    /// It does not become true.
    pub async fn tab_to(&mut self, expression: &str) {
        for _ in 0..60 {
            self.press(Key::Tab).await;
            if self.evaluate(&format!("(e => Boolean({expression}))(document.activeElement)")).await == true {
                return;
            }
        }
        panic!("no element with {expression} gets the focus by Tab");
    }

    /// Clicks at the centre of the first element of a selector.
    pub async fn click(&mut self, selector: &str) {
        let (x, y) = self.centre(selector).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Drops a file or folder on the first element of a selector.
    pub async fn drop_on(&mut self, selector: &str, path: &Path) {
        let (x, y) = self.centre(selector).await;
        let data = json!({ "items": [], "files": [path], "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = json!({ "type": kind, "x": x, "y": y, "data": data });
            self.call("Input.dispatchDragEvent", event).await;
        }
    }

    async fn centre(&mut self, selector: &str) -> (f64, f64) {
        self.until(&format!("document.querySelector({selector:?})")).await;
        let place = self
            .evaluate(&format!(
                "(e => {{ e.scrollIntoView({{ block: 'center' }}); const r = e.getBoundingClientRect(); \
                 return [r.x + r.width / 2, r.y + r.height / 2]; }})(document.querySelector({selector:?}))"
            ))
            .await;
        let at = |index: usize| place[index].as_f64().expect("an element has a place");
        (at(0), at(1))
    }

    async fn strike(&mut self, mut event: Value) {
        event["type"] = "keyDown".into();
        self.call("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = "keyUp".into();
        if let Some(members) = event.as_object_mut() {
            members.remove("text");
        }
        self.call("Input.dispatchKeyEvent", event).await;
    }
}
