# Functions that infra/deploy and infra/uninstall share. They source this file. It needs bash 3.2 or newer and the AWS CLI.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dry_run=false
config=

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

if [ "$((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1]))" -lt 302 ]; then die "this is bash $BASH_VERSION, and 3.2 or newer is needed"; fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || die "python3 must be Python 3.8 or newer"

note() { printf '\n# %s\n' "$*"; }

# Work that failed. It is reported at once and again at the end, and does not stop work that does not depend on it.
undone=()
complain() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  undone+=("$*")
}

end() {
  if $dry_run; then note "dry run: nothing was changed"; fi
  if [ ${#undone[@]} -gt 0 ]; then
    printf '\n%s: some work failed:\n' "${0##*/}" >&2
    printf '  %s\n' "${undone[@]}" >&2
    exit 1
  fi
}

# Prints a command, quoted so that you can paste it into a shell.
show() {
  local word
  printf '+'
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_./:=,@%+-]*) printf " '%s'" "${word//\'/\'\\\'\'}" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  printf '\n'
}

run() {
  show "$@"
  if ! $dry_run; then "$@"; fi
}

# Runs a command of which only success or failure counts. A dry run does not run it, and it counts as failed.
answers() {
  if $dry_run; then return 1; fi
  "$@" >/dev/null 2>&1
}

# answer_unless CODE COMMAND…: runs a command and prints its output. An error with this code counts as success without
# output. Any other error is printed and is a failure.
answer_unless() {
  local code=$1 problem status=0
  shift
  { problem=$("$@" 2>&1 >&3 3>&-) || status=$?; } 3>&1
  if [ "$status" -ne 0 ] && [[ $problem != *"($code)"* ]]; then
    printf '%s\n' "$problem" >&2
    return 1
  fi
}

# The value of a key in the configuration file, or the second argument if the key is absent or empty.
setting() {
  local key=$1 default=${2-} line value=
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    case $line in
      "$key="*) value=${line#*=} ;;
    esac
  done <"$config"
  printf '%s' "${value:-$default}"
}

# Whether the file has the key, even with an empty value, which can override a default that is not empty.
is_set() { grep -q -- "^$1=" "$config"; }

required() {
  local value
  value=$(setting "$1")
  [ -n "$value" ] || die "$config: $1 is not set"
  printf '%s' "$value"
}

# must_match KEY VALUE PATTERN WORDS
must_match() {
  [[ $2 =~ $3 ]] || die "$config: $1 = \"$2\": $4"
}

# default_of TEMPLATE PARAMETER: prints NAME=DEFAULT from the template, or nothing if there is no default.
default_of() {
  awk -v name="$2" '/^Parameters:/ { on = 1; next } /^[A-Za-z]/ { on = 0 } /^  [A-Za-z]/ { here = $1 == name ":" }
    on && here && sub(/^    Default: /, "") { gsub(/^"|"$/, ""); print name "=" $0 }' "$1"
}

parameters_of() {
  awk '/^Parameters:/ { on = 1; next } /^[A-Za-z]/ { on = 0 } on && /^  [A-Za-z0-9]+:/ { sub(/:.*/, ""); print $1 }' "$1"
}

known_keys='CENTRAL_ACCOUNT MANAGEMENT_ACCOUNT HOME_REGION TARGETS CENTRAL_PROFILE MANAGEMENT_PROFILE
STACK_SET_ACCOUNT MEMBER_STACK_IN_MANAGEMENT FAILURE_TOLERANCE_PERCENT CONCURRENT_ACCOUNTS_PERCENT TAGS CONTROL_TOWER_REGION WATCH_IAM CODE_BUCKET ZIPS BUILD_WITH BUILD_PROFILE MEMBER_ADMIN_ROLE'

# Without this check, a misspelled key would silently keep its default.
refuse_unknown_keys() {
  local line key known template
  known=$(for key in $known_keys; do echo "$key"; done; for template in central regional member management guardrails/guardrails; do parameters_of "$here/$template.yaml"; done)
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line%$'\r'}
    case $line in '' | '#'*) continue ;; esac
    case $line in *=*) ;; *) die "$config: \"$line\" is not KEY=VALUE" ;; esac
    key=${line%%=*}
    printf '%s\n' "$known" | grep -xF -- "$key" >/dev/null || die "$config: \"$key\" is neither a key of installation.env.example nor a parameter of a template"
  done <"$config"
}

require_configuration() {
  [ -n "$config" ] || die "pass the configuration with --config FILE (see infra/installation.env.example)"
  [ -f "$config" ] && [ -r "$config" ] || die "$config is not a readable file"
}

load_configuration() {
  require_configuration
  refuse_unknown_keys
  local region_pattern='^(eusc|[a-z]{2})(-[a-z]+)+-[0-9]$'
  central=$(required CENTRAL_ACCOUNT)
  must_match CENTRAL_ACCOUNT "$central" '^[0-9]{12}$' 'expected 12 digits'
  management=$(required MANAGEMENT_ACCOUNT)
  must_match MANAGEMENT_ACCOUNT "$management" '^[0-9]{12}$' 'expected 12 digits'
  home=$(required HOME_REGION)
  must_match HOME_REGION "$home" "$region_pattern" 'expected a Region such as eu-west-1'
  targets=$(required TARGETS)
  must_match TARGETS "$targets" '^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})(,(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}))*$' 'expected root or OU ids, separated by commas'
  enrolled=$(required EnrolledRegions)
  must_match EnrolledRegions "$enrolled" '^(eusc|[a-z]{2})(-[a-z]+)+-[0-9](,(eusc|[a-z]{2})(-[a-z]+)+-[0-9])*$' 'expected Regions, separated by commas'
  organization=$(required OrganizationId)
  must_match OrganizationId "$organization" '^o-[a-z0-9]{10,32}$' 'expected an organization id'
  external_id=$(required ExternalId)
  must_match ExternalId "$external_id" '^[A-Za-z0-9+=,.@:/_-]{16,128}$' 'expected 16 to 128 of A-Z a-z 0-9 + = , . @ : / _ -'
  stack_set_account=$(setting STACK_SET_ACCOUNT central)
  must_match STACK_SET_ACCOUNT "$stack_set_account" '^(central|management)$' 'expected central or management'
  control_tower=$(setting CONTROL_TOWER_REGION)
  [ -z "$control_tower" ] || must_match CONTROL_TOWER_REGION "$control_tower" "$region_pattern" 'expected a Region'
  case $home in
    cn-*) partition=aws-cn organizations=cn-northwest-1 iam=cn-north-1 ;;
    us-gov-*) partition=aws-us-gov organizations=us-gov-west-1 iam=us-gov-west-1 ;;
    eusc-*) partition=aws-eusc organizations=eusc-de-east-1 iam=eusc-de-east-1 ;;
    *) partition=aws organizations=us-east-1 iam=us-east-1 ;;
  esac
  watch_iam=$(setting WATCH_IAM true)
  must_match WATCH_IAM "$watch_iam" '^(true|false)$' 'expected true or false'
  [ "$watch_iam" = true ] || iam=''
  bus=$(setting BusName vpc-flow-logs-enroller)
  member_stack=$(setting MemberStackName vpc-flow-logs-enroller-member)
  operator=$(setting OperatorRoleArn)
  [ -z "$operator" ] || must_match OperatorRoleArn "$operator" ":iam::$central:role/" 'expected a role of CENTRAL_ACCOUNT: the member roles trust no other account'
  code_bucket=$(setting CODE_BUCKET "vpc-flow-logs-enroller-code-$central-$home")
  central_profile=$(setting CENTRAL_PROFILE)
  management_profile=$(setting MANAGEMENT_PROFILE)
  use_stack_set "$member_stack"
}

# Run aws with the credentials of the central or the management account.
as_central() { with_profile "$central_profile" "$@"; }
as_management() { with_profile "$management_profile" "$@"; }
as_stack_set_account() {
  if [ "$stack_set_account" = central ]; then as_central "$@"; else as_management "$@"; fi
}

# with_profile PROFILE HOW COMMAND…: HOW is run, answers, or plain "command".
with_profile() {
  local profile=$1 how=$2
  shift 2
  if [ -n "$profile" ]; then "$how" aws --profile "$profile" "$@"; else "$how" aws "$@"; fi
}

# Wrong credentials would create a second installation in the wrong account.
must_be_in() {
  local how=$1 account=$2 found
  if $dry_run; then return 0; fi
  found=$("$how" command sts get-caller-identity --query Account --output text) || die "no valid credentials ($how)"
  [ "$found" = "$account" ] || die "the credentials belong to account $found, expected $account ($how)"
}

# ValidationError is CloudFormation's code for a stack that does not exist.
status_of() {
  answer_unless ValidationError "$1" command cloudformation describe-stacks --region "$2" --stack-name "$3" \
    --query 'Stacks[].StackStatus' --output text
}

# why_it_failed AS REGION STACK: prints the failed events of the stack's last operation, first cause first.
why_it_failed() {
  "$1" command cloudformation describe-stack-events --region "$2" --stack-name "$3" --output json | python3 -B "$here/check/failures.py" || true
}

# StackSet commands state whether the caller is a delegated administrator.
call_as() {
  if [ "$stack_set_account" = central ]; then printf DELEGATED_ADMIN; else printf SELF; fi
}

# Regions that get a regional stack: the enrolled Regions and those with events of accounts or of IAM, except the home Region.
other_regions() {
  printf '%s\n' "$enrolled" "$organizations" "$control_tower" "$iam" | tr ',' '\n' | sed '/^$/d' | sort -u | grep -vxF -- "$home" || true
}

# The home Region, the enrolled Regions and the one in which IAM's events arise. The home Region comes first, because its
# stack creates the roles.
member_regions() {
  { enrolled_regions; printf '%s\n' "$iam"; } | awk 'NF && !seen[$0]++'
}

enrolled_regions() {
  printf '%s\n' "$home"
  printf '%s\n' "$enrolled" | tr ',' '\n' | sort -u | grep -vxF -- "$home" || true
}

account_event_regions() {
  printf '%s\n' "$organizations" "$control_tower" | sed '/^$/d' | awk '!seen[$0]++'
}

# What a member stack creates: all, roles or rules.
part=all
# The delivery role's name that is deployed, if the configuration has none.
installed_delivery_role=

# parameter NAME ROLES_REGION TEMPLATE: prints NAME=VALUE, with the default if the configuration has no value, and nothing
# if there is no default either. Defaults are always passed: for a parameter that is not passed, a stack keeps its old
# value but a StackSet returns to the default, so they would diverge. ROLES_REGION is where the stack creates its roles.
parameter() {
  local roles_region=$2 template=$3
  case $1 in
    CentralAccountId | HomeRegion | HomeBusArn | CodeBucket | CodePrefix | LogGroupsHaveKmsKey | RolesRegion | Part) ;;
    *)
      if ! is_set "$1"; then
        # What the functions create gets the tags of the stacks, unless the configuration says otherwise.
        if [ "$1" = ResourceTags ] && is_set TAGS; then
          printf '%s=%s' "$1" "$(setting TAGS)"
          return 0
        fi
        if [ "$1" = DeliveryRoleName ] && [ -n "$installed_delivery_role" ]; then
          printf '%s=%s' "$1" "$installed_delivery_role"
          return 0
        fi
        default_of "$template" "$1"
        return 0
      fi
      ;;
  esac
  printf '%s=' "$1"
  case $1 in
    RolesRegion) printf '%s' "$roles_region" ;;
    Part) printf '%s' "$part" ;;
    CentralAccountId) printf '%s' "$central" ;;
    HomeRegion) printf '%s' "$home" ;;
    HomeBusArn) printf 'arn:%s:events:%s:%s:event-bus/%s' "$partition" "$home" "$central" "$bus" ;;
    CodeBucket) printf '%s' "$code_bucket" ;;
    CodePrefix) printf '%s' "${code_prefix-}" ;;
    LogGroupsHaveKmsKey) if [ -n "$(setting LogGroupKmsKeyArn)" ]; then printf true; else printf false; fi ;;
    *) setting "$1" ;;
  esac
}

# The StackSet that the functions below are about: that of the rules, or that of the roles.
use_stack_set() {
  stack_set=$1
  about=(--region "$home" --stack-set-name "$stack_set" --call-as "$(call_as)")
}

# Prints the values of a key in the StackSet's description, one per line, and nothing if there is no StackSet.
stack_set_has() {
  answer_unless StackSetNotFoundException as_stack_set_account command cloudformation describe-stack-set "${about[@]}" \
    --query "StackSet.$1" --output text | tr '\t' '\n' | sed '/^None$/d'
}

# A failed account does not stop the others, unless the configuration says so.
tolerance() {
  printf 'FailureTolerancePercentage=%s,MaxConcurrentPercentage=%s' "$(setting FAILURE_TOLERANCE_PERCENT 100)" \
    "$(setting CONCURRENT_ACCOUNTS_PERCENT 100)"
}

# The tags of every stack, one KEY=VALUE per line.
tags() {
  echo application=vpc-flow-logs-enroller
  setting TAGS | tr ',' '\n' | sed '/^$/d'
  echo
}

tags_json() {
  local tag separator=
  printf '['
  while IFS= read -r tag; do
    if [ -z "$tag" ]; then continue; fi
    printf '%s{"Key":"%s","Value":"%s"}' "$separator" "${tag%%=*}" "${tag#*=}"
    separator=,
  done < <(tags)
  printf ']'
}

# Lines of the first text that are also in the second, and lines that are not.
lines_in() { printf '%s\n' "$1" | grep -xF -f <(printf '%s\n' "$2") || true; }
lines_not_in() { printf '%s\n' "$1" | grep -vxF -f <(printf '%s\n' "$2") || true; }

list_failed_stacks() {
  as_stack_set_account command cloudformation list-stack-set-operation-results "$@" \
    --query "Summaries[?Status=='FAILED'].[Account,Region,StatusReason]" --output text
}

# Waits for an operation of the StackSet, and ends the script if it failed. With a failure tolerance of 100 %, the operation
# SUCCEEDED even if every stack failed. So failed stacks are listed and reported.
wait_for_operation() {
  local operation=$1 answer status failed
  local it=("${about[@]}" --operation-id "$operation")
  while :; do
    answer=$(as_stack_set_account command cloudformation describe-stack-set-operation "${it[@]}" \
      --query 'StackSetOperation.[Status, StatusDetails.FailedStackInstancesCount]' --output text)
    read -r status failed <<<"$answer"
    printf '  %s %s\n' "$operation" "$status"
    case $status in
      SUCCEEDED)
        case $failed in 0 | None) return 0 ;; esac
        list_failed_stacks "${it[@]}"
        complain "operation $operation of StackSet $stack_set left failed stacks ($failed, listed above)"
        return 0
        ;;
      FAILED | STOPPED)
        list_failed_stacks "${it[@]}"
        die "operation $operation of StackSet $stack_set ended with status $status. The stacks that failed are listed above. Remove the \
causes, or allow more failures with FAILURE_TOLERANCE_PERCENT, and run the step again"
        ;;
    esac
    sleep 15
  done
}

# Runs a command that starts an operation of the StackSet, and waits for that operation.
operate() {
  show aws "$@"
  if $dry_run; then return 0; fi
  local operation
  operation=$(as_stack_set_account command "$@" --query OperationId --output text)
  wait_for_operation "$operation"
}
