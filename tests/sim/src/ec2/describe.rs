//! What the Describe operations share: filters and pages.

use std::collections::BTreeMap;

use crate::call::ApiError;
use crate::ec2::invalid_value;
use crate::policy_language::glob;
use crate::wire::query::Params;
use crate::wire::xml::Element;

/// A filter. Any of its values may match, but all filters of a request have to match.
pub(super) struct Filter<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    /// Reads the filters of a request. Each name has to be in `known`, `tag-key` or `tag:KEY`.
    pub(super) fn parse(params: &'a Params, known: &[&str]) -> Result<Vec<Self>, ApiError> {
        let mut filters = Vec::new();
        for start in params.structures("Filter") {
            let name = params.get(&format!("{start}.Name")).unwrap_or_default();
            if !known.contains(&name) && name != "tag-key" && !name.starts_with("tag:") {
                // This is how EC2 answers an unknown filter. A filter that is not simulated gets the same answer.
                return Err(invalid_value(format!("The filter '{name}' is invalid")));
            }
            filters.push(Self { name, values: params.list(&format!("{start}.Value")) });
        }
        Ok(filters)
    }

    /// Whether a resource matches. `attribute` returns the value of a known filter.
    pub(super) fn passes(&self, tags: &BTreeMap<String, String>, attribute: impl Fn(&str) -> Option<String>) -> bool {
        let any = |actual: &str| self.values.iter().any(|wanted| glob(wanted, actual));
        match (self.name, self.name.strip_prefix("tag:")) {
            ("tag-key", _) => tags.keys().any(|key| any(key)),
            (_, Some(key)) => tags.get(key).is_some_and(|value| any(value)),
            (name, None) => attribute(name).is_some_and(|actual| any(&actual)),
        }
    }
}

/// Where a page begins and how long it may be.
pub(super) struct Page {
    after: Option<String>,
    most: usize,
}

/// Prefix of a page token. The last id of the previous page follows it.
const TOKEN: &str = "page-after-";

impl Page {
    /// EC2 model: MaxResults from `least` to 1,000; a page has at most 1,000 members when it is not given.
    pub(super) fn parse(params: &Params, least: usize) -> Result<Self, ApiError> {
        let most = match params.get("MaxResults") {
            None => 1000,
            Some(text) => {
                let refused = |than: String| {
                    let message =
                        format!("Value ( {text} ) for parameter maxResults is invalid. Expecting a value {than}.");
                    Err(invalid_value(message))
                };
                match text.parse::<usize>() {
                    Ok(most) if most < least => return refused(format!("greater than or equal to {least}")),
                    Ok(most) if most <= 1000 => most,
                    Ok(_) | Err(_) => return refused("less than or equal to 1000".to_owned()),
                }
            }
        };
        let after = match params.get("NextToken").filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => {
                Some(token.strip_prefix(TOKEN).ok_or_else(|| invalid_value("Invalid next token"))?.to_owned())
            }
        };
        Ok(Self { after, most })
    }

    /// The members of this page out of all in the order of their ids, and the token of the next page.
    pub(super) fn cut<'a, T>(&self, sorted: Vec<&'a T>, id: impl Fn(&T) -> &str) -> (Vec<&'a T>, Option<Element>) {
        let rest = sorted.into_iter().filter(|item| self.after.as_deref().is_none_or(|after| id(item) > after));
        let mut page: Vec<&T> = rest.take(self.most + 1).collect();
        let more = page.len() > self.most;
        page.truncate(self.most);
        let token = page.last().filter(|_| more).map(|last| Element::text("nextToken", format!("{TOKEN}{}", id(last))));
        (page, token)
    }
}

pub(super) fn tag_set(tags: &BTreeMap<String, String>) -> Element {
    let item = |(key, value): (&String, &String)| {
        vec![Element::text("key", key.as_str()), Element::text("value", value.as_str())]
    };
    Element::set("tagSet", tags.iter().map(item))
}
