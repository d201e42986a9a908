/** Serves method tables over gRPC with mutual TLS: typed handlers in, grpc-js out. */
import type { Readable } from 'node:stream';
import {
  experimental,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  type ServerCredentials,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { AnyMethod, ServiceTable } from './methods.ts';
import { pathOf } from './methods.ts';
import {
  type Call,
  ERROR_TRAILER,
  type ErrorMapping,
  type Handlers,
  KEEPALIVE_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  MESSAGE_MAX_BYTES,
  type Peer,
  type Role,
  type TlsMaterial,
} from './rpc.ts';
import { pump } from './rpc-streams.ts';

export interface RpcServerOptions {
  readonly errors: ErrorMapping;
  /** The caller's identity from its certificate (DER); undefined when the CA did not sign it or its time is over. */
  readonly identify: (certificate: Buffer) => Peer | undefined;
  /** The error for a caller that may not call `path`. */
  readonly deny: (path: string, peer: Peer | undefined) => Error;
}

/** gRPC's status for it. */
const CANCELLED = 1;

type AnyServerCall = {
  getAuthContext(): { sslPeerCertificate?: { raw: Buffer } } | null;
  on(event: string, listener: (...args: never[]) => void): unknown;
  cancelled: boolean;
};
// biome-ignore lint/suspicious/noExplicitAny: handlers are typed at `add`; inside they are called by kind
type AnyHandler = (...args: any[]) => any;

/** Gives grpc-js one identity and takes up a new one without closing what is open. */
class CertificateSource {
  #listeners = new Set<(update: { certificate: Buffer; privateKey: Buffer } | null) => void>();
  #caListeners = new Set<(update: { caCertificate: Buffer } | null) => void>();
  #material: TlsMaterial;

  constructor(material: TlsMaterial) {
    this.#material = material;
  }

  replace(material: TlsMaterial): void {
    this.#material = material;
    for (const listener of this.#caListeners) listener({ caCertificate: Buffer.from(material.ca) });
    for (const listener of this.#listeners) listener(this.#identity());
  }

  #identity(): { certificate: Buffer; privateKey: Buffer } {
    return { certificate: Buffer.from(this.#material.certificate), privateKey: Buffer.from(this.#material.key) };
  }

  addIdentityCertificateListener(listener: (update: { certificate: Buffer; privateKey: Buffer } | null) => void): void {
    this.#listeners.add(listener);
    // grpc-js registers its own watcher only after this returns; an answer at once would be lost.
    queueMicrotask(() => listener(this.#identity()));
  }

  removeIdentityCertificateListener(
    listener: (update: { certificate: Buffer; privateKey: Buffer } | null) => void,
  ): void {
    this.#listeners.delete(listener);
  }

  addCaCertificateListener(listener: (update: { caCertificate: Buffer } | null) => void): void {
    this.#caListeners.add(listener);
    queueMicrotask(() => listener({ caCertificate: Buffer.from(this.#material.ca) }));
  }

  removeCaCertificateListener(listener: (update: { caCertificate: Buffer } | null) => void): void {
    this.#caListeners.delete(listener);
  }
}

/** A listening server. Services are added before `listen`. */
export class RpcServer {
  readonly #server: Server;
  readonly #options: RpcServerOptions;
  #source: CertificateSource | undefined;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#server = new Server({
      'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.max_receive_message_length': MESSAGE_MAX_BYTES,
      'grpc.max_send_message_length': MESSAGE_MAX_BYTES,
    });
  }

  /** Serves `table`; a caller whose role is not in `allow` is denied before the handler runs. */
  add<S extends ServiceTable>(table: S, handlers: Handlers<S>, allow: readonly Role[] | 'anyone'): void {
    const definition: Record<string, object> = {};
    const implementation: UntypedServiceImplementation = {};
    for (const [name, method] of Object.entries(table.methods)) {
      const path = pathOf(table, name);
      definition[name] = definitionOf(method, path);
      implementation[name] = this.#adapt(method, path, handlers[name as keyof Handlers<S>] as AnyHandler, allow);
    }
    this.#server.addService(definition as never, implementation);
  }

  /** Like `add` for a single method with its own roles, so that one service can have doors of different width. */
  addMethod<S extends ServiceTable, K extends keyof S['methods'] & string>(
    table: S,
    name: K,
    handler: Handlers<S>[K],
    allow: readonly Role[] | 'anyone',
  ): void {
    const method = table.methods[name] as AnyMethod;
    this.add({ name: table.name, methods: { [name]: method } }, { [name]: handler } as never, allow);
  }

  /** Binds HOST:PORT (port 0: any) and resolves to the port. */
  listen(hostPort: string, material: TlsMaterial): Promise<number> {
    this.#source = new CertificateSource(material);
    // Client certificates are asked for but not demanded: the join call has none. Every other call is checked in #peer.
    const credentials: ServerCredentials = experimental.createCertificateProviderServerCredentials(
      this.#source,
      this.#source,
      false,
    );
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(hostPort, credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
    });
  }

  /** New connections get the new certificate; open sessions go on. */
  renew(material: TlsMaterial): void {
    this.#source?.replace(material);
  }

  /** Lets calls under way end for `graceMs`, then cuts them. */
  close(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cut = setTimeout(() => this.#server.forceShutdown(), graceMs);
      this.#server.tryShutdown(() => {
        clearTimeout(cut);
        resolve();
      });
    });
  }

  #call(call: AnyServerCall, path: string, allow: readonly Role[] | 'anyone'): Call {
    const raw = call.getAuthContext()?.sslPeerCertificate?.raw;
    const peer = raw === undefined ? undefined : this.#options.identify(raw);
    if (allow !== 'anyone' && (peer === undefined || !allow.includes(peer.role))) {
      throw this.#options.deny(path, peer);
    }
    const gone = new AbortController();
    call.on('cancelled', () => gone.abort(new Error('the caller has gone')));
    if (call.cancelled) gone.abort(new Error('the caller has gone'));
    return { peer, signal: gone.signal };
  }

  #status(error: unknown, path: string): { code: number; details: string; metadata: Metadata } {
    const wire = this.#options.errors.encode(error, path);
    const metadata = new Metadata();
    if (wire.info !== undefined) metadata.set(ERROR_TRAILER, Buffer.from(wire.info));
    return { code: wire.status, details: wire.message, metadata };
  }

  #adapt(method: AnyMethod, path: string, handler: AnyHandler, allow: readonly Role[] | 'anyone'): never {
    // Nobody hears an answer to a caller that has gone, and its going is no error of ours.
    const failOf = (call: { cancelled: boolean }) => (error: unknown) =>
      call.cancelled ? { code: CANCELLED, details: 'the caller has gone' } : this.#status(error, path);
    const unary: handleUnaryCall<unknown, unknown> = (call, callback) => {
      this.#answer(
        () => handler(call.request, this.#call(call as never, path, allow)),
        callback as never,
        failOf(call),
      );
    };
    const clientStream: handleClientStreamingCall<unknown, unknown> = (call, callback) => {
      this.#answer(
        () => handler(requestsOf(call), this.#call(call as never, path, allow)),
        callback as never,
        failOf(call),
      );
    };
    const serverStream: handleServerStreamingCall<unknown, unknown> = (call) => {
      this.#stream(call as never, () => handler(call.request, this.#call(call as never, path, allow)), failOf(call));
    };
    const bidi: handleBidiStreamingCall<unknown, unknown> = (call) => {
      this.#stream(
        call as never,
        () => handler(requestsOf(call), this.#call(call as never, path, allow)),
        failOf(call),
      );
    };
    const adapted = { unary, 'client-stream': clientStream, 'server-stream': serverStream, bidi };
    return adapted[method.kind] as never;
  }

  #answer(
    run: () => Promise<unknown>,
    reply: (error: unknown, value?: unknown) => void,
    fail: (e: unknown) => object,
  ): void {
    Promise.resolve()
      .then(run)
      .then(
        (value) => reply(null, value),
        (error) => reply(fail(error)),
      );
  }

  #stream(call: Parameters<typeof pump>[0], run: () => AsyncIterable<unknown>, fail: (e: unknown) => object): void {
    Promise.resolve()
      .then(() => pump(call, run()))
      .then(
        () => call.end(),
        (error) => call.emit('error', fail(error)),
      );
  }
}

/** What the caller says. Whoever stops reading must not destroy the call: the answer has yet to go out. */
function requestsOf(call: Readable): AsyncIterable<unknown> {
  return call.iterator({ destroyOnReturn: false });
}

function definitionOf(method: AnyMethod, path: string): object {
  const encode = (codec: AnyMethod['request']) => (message: unknown) => Buffer.from(codec.encode(message).finish());
  return {
    path,
    requestStream: method.kind === 'client-stream' || method.kind === 'bidi',
    responseStream: method.kind === 'server-stream' || method.kind === 'bidi',
    requestSerialize: encode(method.request),
    requestDeserialize: (bytes: Buffer) => method.request.decode(bytes),
    responseSerialize: encode(method.response),
    responseDeserialize: (bytes: Buffer) => method.response.decode(bytes),
  };
}
