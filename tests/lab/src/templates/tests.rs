use serde_json::json;

use super::*;

fn account_region(account: &str, region: &str) -> AccountRegion {
    AccountRegion { account: account.to_owned(), region: region.to_owned() }
}

const TEMPLATE: &str = r#"
Parameters:
  Name: { Type: String }
  Days: { Type: Number, Default: 30 }
  Regions: { Type: String, Default: "a,b" }
Conditions:
  IsNamed: !Not [!Equals [!Ref Name, ""]]
  Never: !And [!Condition IsNamed, !Equals [1, 2]]
  Either: !Or [!Condition Never, !Condition IsNamed]
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: { QueueName: !Sub "${Name}.fifo", FifoQueue: true }
  Absent:
    Type: AWS::SQS::Queue
    Condition: Never
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: { Version: "2012-10-17" }
      Policies:
        - PolicyName: one
          PolicyDocument:
            - !If [Either, !GetAtt Queue.Arn, !Ref AWS::NoValue]
            - !If [Never, !GetAtt Absent.Arn, !Ref AWS::NoValue]
            - !Split [",", !Ref Regions]
            - !Sub ["${AWS::AccountId}/${Own}/${Queue.Arn}/${!Literal}", { Own: !Select [1, !Split [",", !Ref Regions]] }]
            - !Join ["-", [!Ref Days, !Ref AWS::Region]]
        - !If [Never, { PolicyName: two }, !Ref AWS::NoValue]
"#;

#[test]
fn functions_conditions_and_parameters_give_what_cloudformation_gives() {
    let template = Template::parse(TEMPLATE).unwrap();
    let stack = template.stack(account_region("111122223333", "eu-west-1"), &[("Name", "n".to_owned())]).unwrap();
    let role = stack.roles().unwrap().remove(0);
    let queue = "arn:aws:sqs:eu-west-1:111122223333:n.fifo";
    let literal = format!("111122223333/b/{queue}/${{Literal}}");
    assert_eq!(role.policies["one"], json!([queue, ["a", "b"], literal, "30-eu-west-1"]));
    assert_eq!((role.policies.len(), &role.trust["Version"]), (1, &json!("2012-10-17")));
    let queues = stack.queues().unwrap();
    assert_eq!((queues.len(), queues[0].fifo), (1, true), "{queues:?}");
}

#[test]
fn what_is_not_known_is_an_error_that_names_it() {
    let stack = |text: &str, given: &[(&str, String)]| {
        let template = Template::parse(text)?;
        template.stack(account_region("111122223333", "eu-west-1"), given)?.roles()
    };
    let role = |trust: &str| {
        format!("Resources: {{ R: {{ Type: AWS::IAM::Role, Properties: {{ AssumeRolePolicyDocument: {trust} }} }} }}")
    };
    let cases = [
        (role("!FindInMap [a, b, c]"), TemplateError::Function("Fn::FindInMap".to_owned())),
        (role("!Ref Nothing"), TemplateError::Resource("Nothing".to_owned())),
        (role("!If [Nothing, 1, 2]"), TemplateError::Condition("Nothing".to_owned())),
        (
            role("!GetAtt R.RoleId"),
            TemplateError::Attribute { kind: "AWS::IAM::Role".to_owned(), attribute: "RoleId".to_owned() },
        ),
        (role("{}, Path: /p/"), TemplateError::Form("property Path".to_owned())),
        ("Parameters: { P: { Type: String } }".to_owned(), TemplateError::Parameter("P".to_owned())),
    ];
    for (text, expected) in cases {
        assert_eq!(stack(&text, &[]).unwrap_err(), expected, "{text}");
    }
    let unknown = stack(&role("{}"), &[("Name", "n".to_owned())]).unwrap_err();
    assert_eq!(unknown, TemplateError::UnknownParameter("Name".to_owned()));
    assert!(matches!(Template::parse("a: 1\na: 2"), Err(TemplateError::Yaml(_))));
}
