// Validates dashboards against the schema that Grafana publishes as TypeScript: @grafana/schema.
//
// Usage: NODE_PATH=… node schema.js FILE… ; exit code 1 and every fault where one is not valid.

const fs = require('fs');
const path = require('path');
const Ajv = require('ajv');
const { createGenerator } = require('ts-json-schema-generator');

// The package does not export the file by name.
const root = process.env.NODE_PATH.split(path.delimiter)
  .map((folder) => path.join(folder, '@grafana/schema'))
  .find((folder) => fs.existsSync(folder));
const types = path.join(root, 'dist/types/raw/dashboard/x/types.gen.d.ts');
const schema = createGenerator({ path: types, type: 'Dashboard', skipTypeCheck: true, topRef: true }).createSchema('Dashboard');
const validate = new Ajv({ strict: false, allErrors: true }).compile(schema);

// What Grafana's Prometheus data source reads from an annotation; the schema knows only what all data sources share.
const OF_PROMETHEUS = ['expr', 'step', 'titleFormat', 'useValueForTime'];

let faults = 0;
for (const file of process.argv.slice(2)) {
  const board = JSON.parse(fs.readFileSync(file, 'utf8'));
  for (const annotation of board.annotations.list) {
    if (annotation.datasource.type === 'prometheus') OF_PROMETHEUS.forEach((key) => delete annotation[key]);
  }
  if (!validate(board)) {
    faults += validate.errors.length;
    for (const { instancePath, message, params } of validate.errors) {
      console.log(`${file}${instancePath}: ${message} ${JSON.stringify(params)}`);
    }
  }
}
process.exit(faults ? 1 : 0);
