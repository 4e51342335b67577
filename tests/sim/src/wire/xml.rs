//! The little XML that the Query protocols need.

use std::fmt::Write;

/// An element with either text or children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    name: String,
    namespace: Option<&'static str>,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Children(Vec<Element>),
}

impl Element {
    /// An element with text.
    pub(crate) fn text(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), namespace: None, content: Content::Text(text.into()) }
    }

    /// An element with children.
    pub(crate) fn of(name: &str, children: Vec<Self>) -> Self {
        Self { name: name.to_owned(), namespace: None, content: Content::Children(children) }
    }

    /// A list in EC2's style: `NAME` with an `item` for each member.
    pub(crate) fn set(name: &str, items: impl IntoIterator<Item = Vec<Self>>) -> Self {
        Self::of(name, items.into_iter().map(|children| Self::of("item", children)).collect())
    }

    /// A list in IAM's style: `NAME` with a `member` for each member.
    pub(crate) fn members(name: &str, members: impl IntoIterator<Item = Vec<Self>>) -> Self {
        Self::of(name, members.into_iter().map(|children| Self::of("member", children)).collect())
    }

    /// The same element in a namespace.
    pub(crate) fn with_namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its text; empty for one with children.
    pub(crate) fn own_text(&self) -> &str {
        match &self.content {
            Content::Text(text) => text,
            Content::Children(_) => "",
        }
    }

    /// Its children.
    pub(crate) fn children(&self) -> &[Self] {
        match &self.content {
            Content::Text(_) => &[],
            Content::Children(children) => children,
        }
    }

    /// Visits the texts with the names of their elements.
    pub(crate) fn each_text(&mut self, visit: &impl Fn(&str, &mut String)) {
        match &mut self.content {
            Content::Text(text) => visit(&self.name, text),
            Content::Children(children) => children.iter_mut().for_each(|child| child.each_text(visit)),
        }
    }

    /// The element as a document with an XML declaration.
    pub(crate) fn render(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        if let Some(namespace) = self.namespace {
            out.push_str(" xmlns=\"");
            out.push_str(namespace);
            out.push('"');
        }
        out.push('>');
        match &self.content {
            Content::Text(text) => escape(text, out),
            Content::Children(children) => children.iter().for_each(|child| child.write(out)),
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no other control characters, and a parser folds a bare carriage return into a line feed.
            '\r' => out.push_str("&#13;"),
            control if control.is_control() && control != '\n' && control != '\t' => {
                // Writing to a String cannot fail.
                write!(out, "\\u{:04x}", u32::from(control)).unwrap_or_default();
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_namespaces_are_written() {
        let element = Element::of("a", vec![Element::text("b", "<\"&\r")]).with_namespace("urn:x");
        let expected = "<a xmlns=\"urn:x\"><b>&lt;&quot;&amp;&#13;</b></a>";
        assert_eq!(element.render().lines().nth(1), Some(expected));
    }
}
