// Runs the rules of cdk-preflight over plain templates. Prints one JSON line for each template: its findings.
//
//     node preflight.cjs ENGINE_FOLDER RULES_FILE TASKS_FILE
//
// ENGINE_FOLDER is @aws/cloudformation-validate, RULES_FILE is cdk-preflight's rules.generated.js. TASKS_FILE is JSON:
// [{"template": path, "region": "eu-west-1", "account": "444455556666"}]. The rules are compiled as cdk-preflight does it:
// one module for each service, and one that says where the stack is deployed.
"use strict";
const fs = require("fs");
const [engineFolder, rulesFile, tasksFile] = process.argv.slice(2);
const engine = require(engineFolder);
const { BUNDLED_LIBS, BUNDLED_RULES } = require(rulesFile);

const HEADER = "package cdk_preflight\n\nimport rego.v1\n";
const tasks = JSON.parse(fs.readFileSync(tasksFile, "utf8"));
const types = new Set(
  tasks.flatMap((task) => Object.values(JSON.parse(fs.readFileSync(task.template, "utf8")).Resources).map((one) => one.Type)),
);
const rules = BUNDLED_RULES.filter(
  (rule) => rule.resourceTypes.length === 0 || rule.resourceTypes.some((type) => type === "*" || types.has(type)),
);
const services = new Map();
for (const rule of rules) {
  const body = rule.rego.replace(/^(?:package|import)\s.*\n/gm, "");
  services.set(rule.service, [...(services.get(rule.service) ?? []), body]);
}
const modules = [
  ...BUNDLED_LIBS.map((library) => ({ name: library.name, content: library.rego })),
  ...[...services].map(([service, bodies]) => ({ name: `_pf_service_${service}`, content: HEADER + bodies.join("\n") })),
];

const compiled = new Map();
function engineFor(region, account) {
  const key = `${region} ${account}`;
  if (!compiled.has(key)) {
    const place = `${HEADER}\ndeploy_region := ${JSON.stringify(region)}\ndeploy_account := ${JSON.stringify(account)}\n`;
    compiled.set(key, new engine.RegoEngine({ customRules: [...modules, { name: "_pf_deploy_environment", content: place }] }));
  }
  return compiled.get(key);
}

console.log(JSON.stringify({ rules: rules.length }));
for (const { template, region, account } of tasks) {
  const report = engineFor(region, account).validateTemplate(new engine.TemplateFile(template), {
    pseudoParameterOverrides: { accountId: account, region },
    disableBuiltinRules: false,
  });
  const found = (report.diagnostics ?? [])
    .filter((one) => one.source === "CUSTOM" || one.severity === "ERROR" || one.severity === "FATAL")
    .map((one) => `${one.entity?.logicalId ?? "template"} ${one.propertyPath ?? ""}: ${one.ruleId} ${one.severity}: ${one.message}`);
  console.log(JSON.stringify(found));
}
