// Creates, reads and misses a record with @grpc/grpc-js; prints what it saw as one line of JSON.
// node client.js FOLDER-OF-PACKAGES PROTO ADDRESS TOKEN
const [folder, proto, address, token] = process.argv.slice(2);
const { createRequire } = require("module");
const load = createRequire(folder + "/node_modules/");
const grpc = load("@grpc/grpc-js");
const loader = load("@grpc/proto-loader");

const definition = loader.loadSync(proto, { keepCase: true, longs: Number });
const { RecordService } = grpc.loadPackageDefinition(definition).myservice.v1;
const client = new RecordService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("authorization", "Bearer " + token);

const call = (name, request) =>
  new Promise((resolve) =>
    client[name](request, metadata, (error, answer) => resolve({ error, answer })),
  );

(async () => {
  const made = await call("CreateRecord", { record: { name: "from node", data: "[1]" } });
  const read = await call("GetRecord", { id: made.answer.record.id });
  const missed = await call("GetRecord", { id: "0192f0a0-0000-7000-8000-00000000dead" });
  console.log(
    JSON.stringify({
      name: read.answer.record.name,
      data: read.answer.record.data,
      version: read.answer.record.version,
      code: missed.error.code,
      details: missed.error.details,
      has_details: missed.error.metadata.get("grpc-status-details-bin").length,
    }),
  );
  client.close();
})();
