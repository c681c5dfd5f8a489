// A load on records at a constant arrival rate: nine reads by id for each record created. A request
// has its moment whatever the service does, so a slow service cannot slow the load that measures it.
//
//   TOKEN=$(myservice token --sub load --scope records:read --scope records:write) \
//     k6 run -e URL=http://127.0.0.1:8080 -e RATE=500 -e DURATION=30s deployments/k6/records.js
//
// The service limits each caller to APP_RATE_LIMIT requests a second (1,000): set 0 to measure more.
// The exit code is 99 when a threshold is missed; load only what is yours.

import http from "k6/http";
import { check } from "k6";

const URL = __ENV.URL || "http://127.0.0.1:8080";
const RATE = Number(__ENV.RATE || 200);
const RECORDS = 100;
const CREATED_OF_TEN = 1;

export const options = {
  scenarios: {
    records: {
      executor: "constant-arrival-rate",
      rate: RATE,
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: Number(__ENV.VUS || 50),
      maxVUs: Number(__ENV.MAX_VUS || 500),
    },
  },
  thresholds: {
    checks: ["rate>0.999"],
    dropped_iterations: [`count<${Math.max(RATE / 100, 1)}`],
    "http_req_duration{name:read}": ["p(99)<100"],
    "http_req_duration{name:create}": ["p(99)<250"],
  },
  summaryTrendStats: ["med", "p(90)", "p(99)", "p(99.9)", "max"],
};

function parameters(name) {
  return {
    headers: { Authorization: `Bearer ${__ENV.TOKEN}`, "Content-Type": "application/json" },
    tags: { name },
    timeout: "10s",
  };
}

function create(name) {
  const body = JSON.stringify({ name: "k6", metadata: { by: "k6" }, data: { n: 1 } });
  return http.post(`${URL}/api/v1/records`, body, parameters(name));
}

export function setup() {
  if (!__ENV.TOKEN) throw new Error("TOKEN is not set: see the head of this file");
  const ids = [];
  for (let n = 0; n < RECORDS; n++) {
    const created = create("setup");
    if (created.status !== 201) throw new Error(`${created.status}: ${created.body || created.error}`);
    ids.push(created.json("id"));
  }
  return ids;
}

export default function (ids) {
  if (Math.random() * 10 < CREATED_OF_TEN) {
    check(create("create"), { "created": (answer) => answer.status === 201 });
    return;
  }
  const id = ids[Math.floor(Math.random() * ids.length)];
  const answer = http.get(`${URL}/api/v1/records/${id}`, parameters("read"));
  check(answer, { "read": (found) => found.status === 200 });
}
