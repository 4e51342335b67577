//! The SQS operations of the AWS JSON 1.0 protocol.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{QueueId, arn_of, create, id_of, receive, url_of};
use crate::call::{ApiError, Call};
use crate::json_input::{Input, invalid};
use crate::sqs::queue::{
    MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES, MAX_VISIBILITY_SECONDS, NewMessage, Queue, QueueSettings, ReceivedMessage,
    Redrive, Visibility, md5_hex,
};
use crate::world::World;

/// Most entries of a batch (SQS API reference, SendMessageBatch and its siblings).
const MAX_BATCH: usize = 10;

const MESSAGE: [&str; 4] = ["MessageBody", "DelaySeconds", "MessageGroupId", "MessageDeduplicationId"];

/// Answers one SQS call.
pub(crate) fn handle(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    match call.operation.as_str() {
        "CreateQueue" => create_queue(world, call, input),
        "GetQueueUrl" => get_queue_url(world, call, input),
        "GetQueueAttributes" => get_queue_attributes(world, call, input),
        "SendMessage" => send_message(world, call, input),
        "SendMessageBatch" => batch(world, call, input, &["Id", MESSAGE[0], MESSAGE[1], MESSAGE[2], MESSAGE[3]], send),
        "ReceiveMessage" => receive_message(world, call, input),
        "DeleteMessage" => one(world, call, input, &["ReceiptHandle"], delete),
        "DeleteMessageBatch" => batch(world, call, input, &["Id", "ReceiptHandle"], delete),
        "ChangeMessageVisibility" => {
            one(world, call, input, &["ReceiptHandle", "VisibilityTimeout"], change_visibility)
        }
        "ChangeMessageVisibilityBatch" => {
            batch(world, call, input, &["Id", "ReceiptHandle", "VisibilityTimeout"], change_visibility)
        }
        other => Err(ApiError::unknown_operation(other)),
    }
}

type Act = fn(&mut World, &QueueId, &Input<'_>) -> Result<Value, ApiError>;

fn queue_of(world: &World, call: &Call, input: &Input<'_>) -> Result<QueueId, ApiError> {
    let url = input.required_text("QueueUrl")?;
    let id = world.sqs.find(url, Some(&call.region)).ok_or_else(no_such_queue)?;
    // Without a queue policy only the owner may use a queue (SQS developer guide, "Access control"); policies are
    // not simulated.
    if id.0 != call.caller.account {
        return Err(ApiError::new(403, "AccessDenied", format!("Access to the resource {url} is denied.")));
    }
    Ok(id)
}

fn queue_mut<'a>(world: &'a mut World, id: &QueueId) -> Result<&'a mut Queue, ApiError> {
    world.sqs.queues.get_mut(id).ok_or_else(no_such_queue)
}

fn no_such_queue() -> ApiError {
    ApiError::new(400, "QueueDoesNotExist", "The specified queue does not exist.")
}

fn create_queue(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["QueueName", "Attributes"])?;
    let name = input.required_text("QueueName")?;
    let mut settings = QueueSettings::default();
    for (attribute, value) in input.text_map("Attributes")? {
        set_attribute(&mut settings, &attribute, &value)?;
    }
    let id = id_of(&call.caller.account, &call.region, name);
    let exists = world.sqs.queues.contains_key(&id);
    let url = create(world, id, settings).map_err(|error| {
        let code = if exists { "QueueNameExists" } else { "InvalidParameterValue" };
        ApiError::new(400, code, error.to_string())
    })?;
    Ok(json!({"QueueUrl": url}))
}

fn set_attribute(settings: &mut QueueSettings, name: &str, value: &str) -> Result<(), ApiError> {
    let wrong = || ApiError::new(400, "InvalidAttributeValue", format!("Invalid value for the parameter {name}."));
    let seconds = || value.parse::<u64>().map(|seconds| seconds.saturating_mul(1_000)).map_err(|_| wrong());
    let flag = || value.parse::<bool>().map_err(|_| wrong());
    match name {
        "FifoQueue" => settings.fifo = flag()?,
        "ContentBasedDeduplication" => settings.content_based_deduplication = flag()?,
        "VisibilityTimeout" => settings.visibility_timeout_ms = seconds()?,
        "DelaySeconds" => settings.delay_ms = seconds()?,
        "MessageRetentionPeriod" => settings.retention_ms = seconds()?,
        "RedrivePolicy" => {
            let policy: Value = serde_json::from_str(value).map_err(|_| wrong())?;
            let count = &policy["maxReceiveCount"];
            let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).ok_or_else(wrong)?;
            let target = policy["deadLetterTargetArn"].as_str().and_then(|arn| arn.rsplit(':').next());
            settings.redrive = Some(Redrive {
                dead_letter_queue: target.ok_or_else(wrong)?.to_owned(),
                max_receive_count: u32::try_from(count).map_err(|_| wrong())?,
            });
        }
        _ => return Err(ApiError::new(400, "InvalidAttributeName", format!("Unknown Attribute {name}."))),
    }
    Ok(())
}

fn get_queue_url(world: &World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["QueueName", "QueueOwnerAWSAccountId"])?;
    let owner = input.text("QueueOwnerAWSAccountId")?.unwrap_or(&call.caller.account);
    let id = id_of(owner, &call.region, input.required_text("QueueName")?);
    if owner != call.caller.account || !world.sqs.queues.contains_key(&id) {
        return Err(no_such_queue());
    }
    Ok(json!({"QueueUrl": url_of(&id)}))
}

fn get_queue_attributes(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["QueueUrl", "AttributeNames"])?;
    let id = queue_of(world, call, &input)?;
    let now_ms = world.now_ms();
    let queue = queue_mut(world, &id)?;
    let (settings, depth) = (queue.settings(), queue.depth(now_ms));
    let mut all = vec![
        ("QueueArn", arn_of(&id)),
        ("ApproximateNumberOfMessages", depth.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
        ("VisibilityTimeout", (settings.visibility_timeout_ms / 1_000).to_string()),
        ("DelaySeconds", (settings.delay_ms / 1_000).to_string()),
    ];
    if settings.fifo {
        all.push(("FifoQueue", "true".to_owned()));
        all.push(("ContentBasedDeduplication", settings.content_based_deduplication.to_string()));
    }
    if let Some(redrive) = &settings.redrive {
        let target = arn_of(&id_of(&id.0, &id.1, &redrive.dead_letter_queue));
        let policy = json!({"deadLetterTargetArn": target, "maxReceiveCount": redrive.max_receive_count});
        all.push(("RedrivePolicy", policy.to_string()));
    }
    let wanted = input.texts("AttributeNames")?;
    let optional = ["FifoQueue", "ContentBasedDeduplication", "RedrivePolicy", "All"];
    if let Some(unknown) =
        wanted.iter().find(|name| !optional.contains(*name) && !all.iter().any(|(known, _)| known == *name))
    {
        return Err(ApiError::new(400, "InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
    }
    let chosen = all.into_iter().filter(|(name, _)| wanted.contains(&"All") || wanted.contains(name));
    let attributes: serde_json::Map<_, _> = chosen.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    Ok(if attributes.is_empty() { json!({}) } else { json!({"Attributes": attributes}) })
}

fn send_message(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    one(world, call, input, &MESSAGE, send)
}

fn send(world: &mut World, id: &QueueId, input: &Input<'_>) -> Result<Value, ApiError> {
    let message = new_message(queue_mut(world, id)?.settings(), input)?;
    let digest = md5_hex(&message.body);
    let (now_ms, message_id) = (world.now_ms(), world.ids.uuid());
    let queue = queue_mut(world, id)?;
    let fifo = queue.settings().fifo;
    let message_id = queue.send(message, message_id, now_ms);
    let mut answer = json!({"MessageId": message_id, "MD5OfMessageBody": digest});
    if fifo {
        answer["SequenceNumber"] = json!(format!("{:020}", world.sqs.next_sequence_number()));
    }
    Ok(answer)
}

fn new_message(settings: &QueueSettings, input: &Input<'_>) -> Result<NewMessage, ApiError> {
    let body = input.required_text("MessageBody")?;
    let parameter = |name: &str, reason: &str| invalid(crate::Service::Sqs, name, reason);
    if body.is_empty() || body.len() > MAX_MESSAGE_BYTES {
        let reason = format!("One or more parameters are invalid. Message must be 1 to {MAX_MESSAGE_BYTES} bytes");
        return Err(parameter("MessageBody", &reason));
    }
    // SQS API reference, SendMessage: the characters of XML 1.0.
    let allowed = |character: char| match character {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        other => other >= ' ',
    };
    if !body.chars().all(allowed) {
        let message = "The message contains characters outside the allowed set.";
        return Err(ApiError::new(400, "InvalidMessageContents", message));
    }
    let delay_ms = input.number("DelaySeconds", 0, MAX_DELAY_SECONDS)?.map(|seconds| seconds * 1_000);
    let group_id = input.text("MessageGroupId")?.map(str::to_owned);
    let deduplication_id = input.text("MessageDeduplicationId")?.map(str::to_owned);
    let wrong_kind = "The request include parameter that is not valid for this queue type";
    if settings.fifo {
        if group_id.is_none() {
            let message = "The request must contain the parameter MessageGroupId.";
            return Err(ApiError::new(400, "MissingParameter", message));
        }
        if deduplication_id.is_none() && !settings.content_based_deduplication {
            let message = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId \
                           provided explicitly";
            return Err(ApiError::new(400, "InvalidParameterValue", message));
        }
        // "When you set FifoQueue, you can't set DelaySeconds per message" (SendMessage).
        if delay_ms.is_some() {
            return Err(parameter("DelaySeconds", wrong_kind));
        }
    } else if deduplication_id.is_some() {
        return Err(parameter("MessageDeduplicationId", wrong_kind));
    }
    Ok(NewMessage { body: body.to_owned(), delay_ms, group_id, deduplication_id })
}

fn receive_message(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let known = [
        "QueueUrl",
        "MaxNumberOfMessages",
        "VisibilityTimeout",
        "WaitTimeSeconds",
        "AttributeNames",
        "MessageSystemAttributeNames",
        "MessageAttributeNames",
    ];
    let input = Input::of(call, input, &known)?;
    let id = queue_of(world, call, &input)?;
    let max = input.number("MaxNumberOfMessages", 1, 10)?.unwrap_or(1);
    let visibility_ms = input.number("VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS)?.map(|seconds| seconds * 1_000);
    // The value is checked, but the call does not wait: nothing arrives while one call holds the world.
    input.number("WaitTimeSeconds", 0, 20)?;
    let mut wanted: BTreeSet<&str> = input.texts("AttributeNames")?.into_iter().collect();
    wanted.extend(input.texts("MessageSystemAttributeNames")?);
    let received = receive(world, &id, usize::try_from(max).unwrap_or(1), visibility_ms);
    let messages: Vec<Value> = received.iter().map(|message| render(message, &wanted)).collect();
    Ok(if messages.is_empty() { json!({}) } else { json!({"Messages": messages}) })
}

fn render(message: &ReceivedMessage, wanted: &BTreeSet<&str>) -> Value {
    let mut rendered = json!({
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": md5_hex(&message.body),
        "Body": message.body,
    });
    let all = [
        ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
        ("SentTimestamp", Some(message.sent_ms.to_string())),
        ("ApproximateFirstReceiveTimestamp", Some(message.first_received_ms.to_string())),
        ("MessageGroupId", message.group_id.clone()),
    ];
    let chosen = all.into_iter().filter(|(name, _)| wanted.contains("All") || wanted.contains(name));
    let attributes: serde_json::Map<_, _> =
        chosen.filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect();
    if !attributes.is_empty() {
        rendered["Attributes"] = Value::Object(attributes);
    }
    rendered
}

fn delete(world: &mut World, id: &QueueId, input: &Input<'_>) -> Result<Value, ApiError> {
    let handle = input.required_text("ReceiptHandle")?;
    let now_ms = world.now_ms();
    if queue_mut(world, id)?.delete(handle, now_ms) { Ok(json!({})) } else { Err(invalid_handle(handle)) }
}

fn change_visibility(world: &mut World, id: &QueueId, input: &Input<'_>) -> Result<Value, ApiError> {
    let handle = input.required_text("ReceiptHandle")?;
    let missing =
        || ApiError::new(400, "MissingParameter", "The request must contain the parameter VisibilityTimeout.");
    let seconds = input.number("VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS)?.ok_or_else(missing)?;
    let now_ms = world.now_ms();
    match queue_mut(world, id)?.change_visibility(handle, seconds * 1_000, now_ms) {
        Visibility::Changed => Ok(json!({})),
        Visibility::NotInFlight => {
            Err(ApiError::new(400, "MessageNotInflight", "The specified message isn't in flight."))
        }
        Visibility::InvalidHandle => Err(invalid_handle(handle)),
    }
}

fn invalid_handle(handle: &str) -> ApiError {
    ApiError::new(
        400,
        "ReceiptHandleIsInvalid",
        format!("The input receipt handle \"{handle}\" is not a valid receipt handle."),
    )
}

/// An operation on one message.
fn one(world: &mut World, call: &Call, input: &Value, known: &[&str], act: Act) -> Result<Value, ApiError> {
    let known: Vec<&str> = known.iter().copied().chain(["QueueUrl"]).collect();
    let input = Input::of(call, input, &known)?;
    let id = queue_of(world, call, &input)?;
    act(world, &id, &input)
}

/// The same operation on up to ten messages, each with a result of its own.
fn batch(world: &mut World, call: &Call, input: &Value, known: &[&str], act: Act) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["QueueUrl", "Entries"])?;
    let id = queue_of(world, call, &input)?;
    let entries: Vec<Input<'_>> = input
        .list("Entries")?
        .iter()
        .map(|entry| Input::nested(call, entry, "Entries", known))
        .collect::<Result<_, _>>()?;
    check_batch(&entries)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        let entry_id = entry.required_text("Id")?;
        match act(world, &id, entry) {
            Ok(mut answer) => {
                answer["Id"] = json!(entry_id);
                successful.push(answer);
            }
            Err(refusal) => failed.push(json!({
                "Id": entry_id, "SenderFault": true, "Code": refusal.code, "Message": refusal.message,
            })),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

/// SQS API reference, errors of SendMessageBatch and its siblings.
fn check_batch(entries: &[Input<'_>]) -> Result<(), ApiError> {
    let refuse = |code: &str, message: String| Err(ApiError::new(400, code, message));
    if entries.is_empty() {
        return refuse("EmptyBatchRequest", "The batch request doesn't contain any entries.".to_owned());
    }
    if entries.len() > MAX_BATCH {
        let message =
            format!("Maximum number of entries per request are {MAX_BATCH}. You have sent {}.", entries.len());
        return refuse("TooManyEntriesInBatchRequest", message);
    }
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for entry in entries {
        let entry_id = entry.required_text("Id")?;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if entry_id.is_empty() || entry_id.len() > 80 || !entry_id.bytes().all(valid) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be \
                           at most 80 letters long.";
            return refuse("InvalidBatchEntryId", message.to_owned());
        }
        if !seen.insert(entry_id) {
            return refuse("BatchEntryIdsNotDistinct", format!("Id {entry_id} repeated."));
        }
        bytes += entry.text("MessageBody")?.map_or(0, str::len);
    }
    if bytes > MAX_MESSAGE_BYTES {
        let message =
            format!("Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {bytes} bytes.");
        return refuse("BatchRequestTooLong", message);
    }
    Ok(())
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
