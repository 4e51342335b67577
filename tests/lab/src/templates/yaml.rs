//! YAML as CloudFormation reads it: short-form tags become the long form of their function.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value, json};

use super::TemplateError;

/// Reads a template, which is the first document of the text.
pub(super) fn parse(text: &str) -> Result<Value, TemplateError> {
    let mut reader = Reader { events: Parser::new_from_str(text) };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(_) => {}
            first => return reader.value(first),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, TemplateError> {
        match self.events.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(TemplateError::Yaml(error.to_string())),
            None => Err(TemplateError::Yaml("the document ends too early".to_owned())),
        }
    }

    fn value(&mut self, first: Event<'a>) -> Result<Value, TemplateError> {
        match first {
            Event::Scalar(text, style, _, tag) => tagged(tag.as_deref(), scalar(&text, style)),
            Event::SequenceStart(_, tag) => {
                let items = self.sequence()?;
                tagged(tag.as_deref(), Value::Array(items))
            }
            Event::MappingStart(_, tag) => {
                let members = self.mapping()?;
                tagged(tag.as_deref(), Value::Object(members))
            }
            // CloudFormation does not support anchors.
            other => Err(TemplateError::Yaml(format!("{other:?} is not expected"))),
        }
    }

    fn sequence(&mut self) -> Result<Vec<Value>, TemplateError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(items),
                first => items.push(self.value(first)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Map<String, Value>, TemplateError> {
        let mut members = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(members),
                Event::Scalar(text, _, _, None) => text.into_owned(),
                other => return Err(TemplateError::Yaml(format!("{other:?} is no key"))),
            };
            let first = self.next()?;
            let value = self.value(first)?;
            if members.insert(key.clone(), value).is_some() {
                return Err(TemplateError::Yaml(format!("key {key} stands there twice")));
            }
        }
    }
}

/// Only plain scalars can be other than text (YAML 1.2, core schema, as far as templates need it).
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return json!(text);
    }
    match text {
        "true" => json!(true),
        "false" => json!(false),
        "" | "~" | "null" => Value::Null,
        other => other.parse::<i64>().map_or_else(|_| json!(other), |number| json!(number)),
    }
}

/// `!Sub x` is `Fn::Sub: x`; `!Ref` and `!Condition` have no prefix, and `!GetAtt a.b` is a list of two.
fn tagged(tag: Option<&Tag>, value: Value) -> Result<Value, TemplateError> {
    let Some(tag) = tag else { return Ok(value) };
    if tag.handle != "!" {
        return Err(TemplateError::Function(tag.to_string()));
    }
    let value = match (tag.suffix.as_str(), value.as_str().and_then(|text| text.split_once('.'))) {
        ("GetAtt", Some((resource, attribute))) => json!([resource, attribute]),
        (_, Some(_) | None) => value,
    };
    let name = match tag.suffix.as_str() {
        plain @ ("Ref" | "Condition") => plain.to_owned(),
        function => format!("Fn::{function}"),
    };
    Ok(json!({ name: value }))
}
