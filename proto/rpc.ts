/**
 * What both ends of a call agree on beyond the messages: handlers and clients as promises and async iterables, the
 * caller's identity, and how an error crosses the wire. `rpc-server.ts` and `rpc-channel.ts` adapt grpc-js to it.
 */
import type { Method, MethodKind, ServiceTable } from './methods.ts';

export type Role = 'manager' | 'worker' | 'client';

/** Who called, from a certificate that the cluster's CA signed and that is in its time. */
export interface Peer {
  readonly role: Role;
  /** The certificate's common name: node, manager or client id. */
  readonly id: string;
  readonly clusterId: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface Call {
  /** Absent: no acceptable client certificate; reaches a handler only where the service allows `anyone`. */
  readonly peer: Peer | undefined;
  /** Aborted when the caller has gone or its deadline has passed. */
  readonly signal: AbortSignal;
}

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Milliseconds from now; absent: no deadline but the signal. */
  readonly deadlineMs?: number;
}

type InOf<M> = M extends Method<MethodKind, infer _P, infer In, infer _Q, infer _O> ? In : never;
type InPropsOf<M> = M extends Method<MethodKind, infer P, infer _I, infer _Q, infer _O> ? P : never;
type OutOf<M> = M extends Method<MethodKind, infer _P, infer _I, infer _Q, infer Out> ? Out : never;
type OutPropsOf<M> = M extends Method<MethodKind, infer _P, infer _I, infer Q, infer _O> ? Q : never;
type KindOf<M> = M extends Method<infer Kind, infer _P, infer _I, infer _Q, infer _O> ? Kind : never;

type Handler<M> = {
  unary: (request: InOf<M>, call: Call) => Promise<OutPropsOf<M>>;
  'server-stream': (request: InOf<M>, call: Call) => AsyncIterable<OutPropsOf<M>>;
  'client-stream': (requests: AsyncIterable<InOf<M>>, call: Call) => Promise<OutPropsOf<M>>;
  bidi: (requests: AsyncIterable<InOf<M>>, call: Call) => AsyncIterable<OutPropsOf<M>>;
}[KindOf<M>];

/** One function a method of the service. */
export type Handlers<S extends ServiceTable> = { readonly [K in keyof S['methods']]: Handler<S['methods'][K]> };

type Caller<M> = {
  unary: (request: InPropsOf<M>, options: CallOptions) => Promise<OutOf<M>>;
  'server-stream': (request: InPropsOf<M>, options: CallOptions) => AsyncIterable<OutOf<M>>;
  'client-stream': (requests: AsyncIterable<InPropsOf<M>>, options: CallOptions) => Promise<OutOf<M>>;
  bidi: (requests: AsyncIterable<InPropsOf<M>>, options: CallOptions) => AsyncIterable<OutOf<M>>;
}[KindOf<M>];

/** One function a method of the service, seen from the caller. */
export type Client<S extends ServiceTable> = { readonly [K in keyof S['methods']]: Caller<S['methods'][K]> };

/** An error in the form in which it crosses the wire. */
export interface WireError {
  /** gRPC status code. */
  readonly status: number;
  readonly message: string;
  /** covey.v1.ErrorInfo, encoded; absent when the other side did not say. */
  readonly info: Uint8Array | undefined;
}

/** How the program's own errors become wire errors and back; given by common/rpc.ts. */
export interface ErrorMapping {
  /** Never fails; what is not the program's own error is logged there and leaves only a request id. */
  encode(error: unknown, path: string): WireError;
  decode(error: WireError, path: string): Error;
}

/** PEM texts. `ca` is what the other side's chain must end in. */
export interface TlsMaterial {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** Trailer that carries covey.v1.ErrorInfo. */
export const ERROR_TRAILER = 'covey-error-bin';

/**
 * Silence on a connection is noticed after KEEPALIVE_TIME_MS + KEEPALIVE_TIMEOUT_MS at the latest, on both ends: that
 * bound plus `failoverAfter` is what a dark host costs (docs/adr/0009-silence.md).
 */
export const KEEPALIVE_TIME_MS = 2_000;
export const KEEPALIVE_TIMEOUT_MS = 3_000;
/** The largest message: a complete assignment of a big node. */
export const MESSAGE_MAX_BYTES = 64 * 1024 * 1024;
