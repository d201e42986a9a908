/** Servers and channels whose errors are ClusterErrors and whose peers are known by the cluster's CA. */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { covey } from '../proto/messages.ts';
import type { ErrorMapping, Peer, TlsMaterial, WireError } from '../proto/rpc.ts';
import { RpcChannel } from '../proto/rpc-channel.ts';
import { RpcServer } from '../proto/rpc-server.ts';
import { ClusterError, type ErrorCode, STATUS_OF, toClusterError } from './errors.ts';
import { identify } from './tls/peer.ts';

/** gRPC's own codes (no ErrorInfo in the trailer) in our words; the rest is `internal`. */
const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  1: 'unavailable',
  3: 'invalid',
  4: 'unavailable',
  5: 'not_found',
  6: 'exists',
  7: 'denied',
  8: 'exhausted',
  10: 'conflict',
  12: 'invalid',
  14: 'unavailable',
  16: 'denied',
};

/** An error as a message inside a stream. */
export function toErrorInfo({ code, message, field, hint }: ClusterError): covey.v1.ErrorInfo.$Properties {
  return { code, message, field: field ?? '', hint: hint ?? '' };
}

/** The error of such a message. */
export function fromErrorInfo({ code, message, field, hint }: covey.v1.ErrorInfo.$Properties): ClusterError {
  return new ClusterError((code ?? 'internal') as ErrorCode, message ?? '', {
    ...(field ? { field } : {}),
    ...(hint ? { hint } : {}),
  });
}

/** What the other side is told of an error. A bug's text and stack stay in the log; the user gets what finds them there. */
function told(error: unknown, path: string, log: Logger | undefined): ClusterError {
  const known = toClusterError(error);
  if (known.code !== 'internal') return known;
  const requestId = randomBytes(6).toString('hex');
  log?.error({ err: error, path, requestId }, 'a call failed by our own fault');
  return new ClusterError('internal', `internal error, request ${requestId}`, {
    ...(known.field === undefined ? {} : { field: known.field }),
    hint: 'the manager log has the details under this request id',
  });
}

function encodeError(error: unknown, path: string, log: Logger | undefined): WireError {
  const known = told(error, path, log);
  const info = covey.v1.ErrorInfo.encode(toErrorInfo(known)).finish();
  return { status: STATUS_OF[known.code][0], message: known.message, info };
}

function decodeError(error: WireError, path: string): ClusterError {
  if (error.info === undefined) {
    return new ClusterError(CODE_OF_STATUS[error.status] ?? 'internal', `${path}: ${error.message}`);
  }
  return fromErrorInfo(covey.v1.ErrorInfo.decode(error.info));
}

/** How a call that is no gRPC ends with an error: an ErrorInfo, encoded. `log` gets what is not the user's fault. */
export function endOf(log: Logger): (cause: unknown) => Uint8Array {
  return (cause) => covey.v1.ErrorInfo.encode(toErrorInfo(told(cause, 'covey.v1.Mesh', log))).finish();
}

/** The error of such an end. */
export function errorOfEnd(message: Uint8Array): ClusterError {
  return fromErrorInfo(covey.v1.ErrorInfo.decode(message));
}

/** The mapping of ClusterErrors to the wire and back. `log` gets what is not the user's fault. */
export function errorMapping(log: Logger | undefined): ErrorMapping {
  return { encode: (error, path) => encodeError(error, path, log), decode: decodeError };
}

/** A server that knows its callers by certificates of the CA in `ca` (PEM). */
export function rpcServer(ca: string, log: Logger): RpcServer {
  return new RpcServer({
    errors: errorMapping(log),
    identify: identify(ca),
    deny: (path, peer) =>
      new ClusterError(
        'denied',
        peer === undefined
          ? `${path} needs a client certificate of this cluster's CA that is in its time`
          : `${path} is not for a ${peer.role} (${peer.id})`,
        {
          hint:
            peer === undefined
              ? 'use a context made by `covey cluster init`, or join the cluster'
              : 'use the admin context',
        },
      ),
  });
}

/** A channel to the manager at `address`; a server without a manager's certificate of `material.ca` is refused. */
export function rpcChannel(address: string, material: TlsMaterial): RpcChannel {
  const known = identify(material.ca);
  return new RpcChannel(address, material, {
    errors: errorMapping(undefined),
    checkServer: (certificate) => notAManager(known(certificate), address),
  });
}

function notAManager(peer: Peer | undefined, address: string): Error | undefined {
  if (peer?.role === 'manager') return undefined;
  const what =
    peer === undefined
      ? 'a certificate that this cluster did not issue or that has expired'
      : `a ${peer.role}'s certificate`;
  return new ClusterError('denied', `the server at ${address} showed ${what}, not a manager's`);
}
