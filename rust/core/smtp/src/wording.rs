//! The site's own words for replies: by code, or by code and enhanced code.
//!
//! A code stays what it is; only the text changes. `{hostname}`, `{id}` and `{text}` (what would have been said) are
//! filled in. The greeting and the answer to EHLO are of their own (RFC 5321 4.2 and 4.1.1.1 say how they begin), and
//! so is a challenge.

use std::collections::BTreeMap;
use std::sync::Arc;

use angarium_nouns::Reply;

/// Texts by `"550"` or `"550 5.7.1"`; the longer key wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wording(Option<Arc<BTreeMap<String, String>>>);

impl Wording {
    pub fn new(texts: BTreeMap<String, String>) -> Self {
        Self((!texts.is_empty()).then(|| Arc::new(texts)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The reply in the site's words, if it has some that can be said.
    pub fn of(&self, reply: &Reply, hostname: &str, id: &str) -> Option<Reply> {
        let texts = self.0.as_ref()?;
        let exact = reply.enhanced.and_then(|enhanced| texts.get(&format!("{} {enhanced}", reply.code)));
        let words = exact.or_else(|| texts.get(&reply.code.to_string()))?;
        let text = words.replace("{hostname}", hostname).replace("{id}", id).replace("{text}", &reply.text);
        Reply::checked(reply.code, reply.enhanced, text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_key_wins_and_variables_are_filled_in() {
        let texts = [("550", "{text} ({hostname} {id})"), ("550 5.7.1", "Ask {hostname}"), ("451", "a\u{7}b")];
        let wording = Wording::new(texts.map(|(key, text)| (key.into(), text.into())).into());
        for (reply, said) in [
            (Reply::new(550, (5, 1, 1), "Nobody"), Some("550 5.1.1 Nobody (mx.test 7f)")),
            (Reply::new(550, (5, 7, 1), "No"), Some("550 5.7.1 Ask mx.test")),
            (Reply::plain(550, "x"), Some("550 x (mx.test 7f)")),
            (Reply::new(250, (2, 0, 0), "OK"), None),
            // A control character cannot be said.
            (Reply::new(451, (4, 3, 0), "x"), None),
        ] {
            assert_eq!(wording.of(&reply, "mx.test", "7f").map(|own| own.to_string()).as_deref(), said);
        }
        assert!(Wording::default().is_empty());
    }
}
