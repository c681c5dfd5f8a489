// Compiles only with the types that openapi-typescript has made in api.d.ts.
import type { components, paths } from "./api";

type Transfer = components["schemas"]["Transfer"];
type Created = paths["/api/v1/transfers"]["post"]["responses"]["201"]["content"]["application/json"];

const draft: components["schemas"]["TransferDraft"] = { from: "a", to: "b", amount: 3_000_000_000 };
export const amountOf = (made: Created): number => (made satisfies Transfer).amount + draft.amount;
export const status: components["schemas"]["Order"]["status"] = "paid";
// @ts-expect-error - there is no such status
export const wrong: components["schemas"]["Order"]["status"] = "lost";
