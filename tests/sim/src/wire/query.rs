//! Parameters of the Query protocols, read strictly.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::call::ApiError;

/// Form parameters by name, such as `Filter.1.Value.2`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// Parameters of a form body and of a query string.
    pub(crate) fn parse(body: &[u8], query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Removes and gives one parameter.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Members of `PREFIX.1`, `PREFIX.2` and so on, in the order of their numbers.
    pub(crate) fn list(&self, prefix: &str) -> Vec<&str> {
        self.numbers(prefix).into_iter().filter_map(|number| self.get(&format!("{prefix}.{number}"))).collect()
    }

    /// Beginnings `PREFIX.1`, `PREFIX.2` and so on of the structures in a list, in the order of their numbers.
    pub(crate) fn structures(&self, prefix: &str) -> Vec<String> {
        self.numbers(prefix).into_iter().map(|number| format!("{prefix}.{number}")).collect()
    }

    fn numbers(&self, prefix: &str) -> Vec<u32> {
        let start = format!("{prefix}.");
        let names = self.0.range(start.clone()..).map(|(name, _)| name).take_while(|name| name.starts_with(&start));
        let mut numbers: Vec<u32> =
            names.filter_map(|name| name[start.len()..].split('.').next()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Pairs of `PREFIX.N.Key` and `PREFIX.N.Value`; a missing value is empty.
    pub(crate) fn tags(&self, prefix: &str) -> BTreeMap<String, String> {
        let part = |start: &str, name: &str| self.get(&format!("{start}.{name}")).unwrap_or_default().to_owned();
        self.structures(prefix).iter().map(|start| (part(start, "Key"), part(start, "Value"))).collect()
    }

    /// Refuses parameters other than those named, in which `N` stands for a number.
    pub(crate) fn only(&self, operation: &str, known: &[&str]) -> Result<(), ApiError> {
        let shape = |name: &str| -> String {
            let parts = name.split('.').map(|part| if part.parse::<u32>().is_ok() { "N" } else { part });
            parts.collect::<Vec<_>>().join(".")
        };
        match self.0.keys().find(|name| !known.contains(&shape(name).as_str())) {
            Some(name) => Err(ApiError::unknown_parameter(name, operation)),
            None => Ok(()),
        }
    }

    /// All parameters as they came, for the trail.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "flat": self.0 })
    }

    /// All parameters in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_the_order_of_their_numbers_and_not_of_their_text() {
        let form: String = (1..=12).map(|n| format!("ResourceId.{n}=vpc-{n}&")).collect();
        let params = Params::parse(form.as_bytes(), "");
        assert_eq!(params.list("ResourceId"), (1..=12).map(|n| format!("vpc-{n}")).collect::<Vec<_>>());
        assert_eq!(params.list("Resource"), Vec::<&str>::new());
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused_by_name() {
        let params = Params::parse(b"Filter.1.Value.2=a&Frob=b%20c", "");
        let refusal = params.only("DescribeVpcs", &["Filter.N.Value.N"]).unwrap_err();
        assert_eq!(refusal.message, "the simulated AWS does not know parameter Frob of DescribeVpcs");
        assert!(params.only("DescribeVpcs", &["Filter.N.Value.N", "Frob"]).is_ok());
    }
}
