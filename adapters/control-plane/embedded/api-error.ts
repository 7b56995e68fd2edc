import type { ContentfulStatusCode } from "hono/utils/http-status";

const codes = {
  400: "BAD_REQUEST",
  401: "UNAUTHORIZED",
  404: "NOT_FOUND",
  409: "CONFLICT",
  422: "VALIDATION_ERROR",
  500: "INTERNAL_ERROR",
} as const satisfies Partial<Record<ContentfulStatusCode, string>>;

/** Thrown by a route or a change: the request is refused, and what the change had written is undone. */
export class ApiError extends Error {
  readonly status: keyof typeof codes;
  readonly code: string;

  /** @param code the wire's word; by default the one that goes with the status (wire contract 1.2) */
  constructor(status: keyof typeof codes, message: string, code: string = codes[status]) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }

  toJSON(): { error: { code: string; message: string } } {
    return { error: { code: this.code, message: this.message } };
  }
}
