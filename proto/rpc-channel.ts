/** Calls method tables over gRPC with mutual TLS: grpc-js in, promises and async iterables out. */

import {
  ChannelCredentials,
  type CallOptions as GrpcCallOptions,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import type { AnyMethod, ServiceTable } from './methods.ts';
import { pathOf } from './methods.ts';
import {
  type CallOptions,
  type Client,
  ERROR_TRAILER,
  type ErrorMapping,
  KEEPALIVE_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  MESSAGE_MAX_BYTES,
  type TlsMaterial,
} from './rpc.ts';
import { pump, type Sink } from './rpc-streams.ts';
import { contextOf } from './secure-context.ts';

export interface RpcChannelOptions {
  readonly errors: ErrorMapping;
  /** An error when the server's certificate (DER), already checked against `ca`, is not one to talk to. */
  readonly checkServer: (certificate: Buffer) => Error | undefined;
}

interface Readable extends AsyncIterable<unknown> {
  cancel(): void;
  on(event: 'error', listener: (error: ServiceError) => void): unknown;
}

/** One connection to one manager; made on first use and again after a loss. */
export class RpcChannel {
  readonly address: string;
  readonly #client: GrpcClient;
  readonly #errors: ErrorMapping;

  constructor(address: string, material: TlsMaterial, options: RpcChannelOptions) {
    this.address = address;
    this.#errors = options.errors;
    const credentials = ChannelCredentials.createFromSecureContext(contextOf(material), {
      checkServerIdentity: (_host, certificate) => options.checkServer(certificate.raw),
    });
    this.#client = new GrpcClient(address, credentials, {
      'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.max_receive_message_length': MESSAGE_MAX_BYTES,
      'grpc.max_send_message_length': MESSAGE_MAX_BYTES,
      'grpc.enable_retries': 0,
      // Servers are known by their role, not by a host name, which may be a bare address.
      'grpc.ssl_target_name_override': 'covey-manager',
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2_000,
      // Two channels of one process (before and after a renewal) must not share a connection.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** The service's methods as functions. */
  service<S extends ServiceTable>(table: S): Client<S> {
    const client: Record<string, unknown> = {};
    for (const [name, method] of Object.entries(table.methods))
      client[name] = this.#caller(method, pathOf(table, name));
    return client as Client<S>;
  }

  close(): void {
    this.#client.close();
  }

  #caller(method: AnyMethod, path: string): unknown {
    const encode = (message: unknown) => Buffer.from(method.request.encode(message).finish());
    const decode = (bytes: Buffer) => method.response.decode(bytes);
    const callers = {
      unary: (request: unknown, options: CallOptions) =>
        this.#promise(path, options, (grpc, done) =>
          this.#client.makeUnaryRequest(path, encode, decode, request, new Metadata(), grpc, done),
        ),
      'client-stream': (requests: AsyncIterable<unknown>, options: CallOptions) =>
        this.#promise(path, options, (grpc, done) => {
          const call = this.#client.makeClientStreamRequest(path, encode, decode, new Metadata(), grpc, done);
          this.#feed(call as never, requests);
          return call;
        }),
      'server-stream': (request: unknown, options: CallOptions) =>
        this.#iterate(path, options, (grpc) =>
          this.#client.makeServerStreamRequest(path, encode, decode, request, new Metadata(), grpc),
        ),
      bidi: (requests: AsyncIterable<unknown>, options: CallOptions) =>
        this.#iterate(path, options, (grpc) => {
          const call = this.#client.makeBidiStreamRequest(path, encode, decode, new Metadata(), grpc);
          this.#feed(call as never, requests);
          return call;
        }),
    };
    return callers[method.kind];
  }

  /** The request side of a stream; its failure ends the call, whose other side then reports it. */
  #feed(call: Sink & { cancel(): void }, requests: AsyncIterable<unknown>): void {
    pump(call, requests).then(
      () => call.end(),
      () => call.cancel(),
    );
  }

  #promise(
    path: string,
    options: CallOptions,
    start: (grpc: GrpcCallOptions, done: (error: ServiceError | null, value?: unknown) => void) => { cancel(): void },
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (options.signal.aborted) return reject(options.signal.reason);
      const onAbort = (): void => call.cancel();
      const call = start(grpcOptions(options), (error, value) => {
        options.signal.removeEventListener('abort', onAbort);
        if (error === null) resolve(value);
        else reject(options.signal.aborted ? options.signal.reason : this.#decode(error, path));
      });
      options.signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async *#iterate(
    path: string,
    options: CallOptions,
    start: (grpc: GrpcCallOptions) => Readable,
  ): AsyncGenerator<unknown> {
    options.signal.throwIfAborted();
    const call = start(grpcOptions(options));
    const onAbort = (): void => call.cancel();
    options.signal.addEventListener('abort', onAbort, { once: true });
    // An error after the reader has left would otherwise be nobody's and end the process.
    call.on('error', () => {});
    try {
      yield* call;
    } catch (error) {
      throw options.signal.aborted ? options.signal.reason : this.#decode(error as ServiceError, path);
    } finally {
      options.signal.removeEventListener('abort', onAbort);
      call.cancel();
    }
  }

  #decode(error: ServiceError, path: string): Error {
    const info = error.metadata?.get(ERROR_TRAILER)[0];
    return this.#errors.decode(
      { status: error.code, message: error.details ?? error.message, info: Buffer.isBuffer(info) ? info : undefined },
      path,
    );
  }
}

function grpcOptions(options: CallOptions): GrpcCallOptions {
  return options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
}
