/** Who is at the other end, by a certificate that the cluster's CA signed. */
import { X509Certificate } from 'node:crypto';
import type { Peer, Role } from '../../proto/rpc.ts';

/** The organisational unit that says what a certificate is for; the organisation is the cluster's id. */
export const UNIT_OF: Readonly<Record<Role, string>> = {
  manager: 'covey-manager',
  worker: 'covey-worker',
  client: 'covey-client',
};

/** Answers kept per certificate, so that a call costs no signature check. More certificates than this are re-checked. */
const KNOWN_MAX = 4_096;

interface Known {
  readonly peer: Peer;
  readonly from: number;
}

type Judge = (certificate: Buffer) => Peer | undefined;

/** One for each CA, whoever asks: what one connection has learnt of a certificate, the next need not. */
const judges = new Map<string, Judge>();
/** A process knows one cluster; tests know more. */
const JUDGES_MAX = 16;

/**
 * The judge of peers' certificates for one CA.
 * It answers undefined for whatever the CA did not sign, is out of its time, or names no role.
 * @param ca PEM
 */
export function identify(ca: string): Judge {
  const known = judges.get(ca);
  if (known !== undefined) return known;
  if (judges.size >= JUDGES_MAX) judges.clear();
  const judge = judgeOf(ca);
  judges.set(ca, judge);
  return judge;
}

function judgeOf(ca: string): Judge {
  const issuer = new X509Certificate(ca);
  const known = new Map<string, Known>();
  return (certificate) => {
    const key = certificate.toString('base64');
    let found = known.get(key);
    if (found === undefined) {
      found = examine(certificate, issuer);
      if (found === undefined) return undefined;
      if (known.size >= KNOWN_MAX) known.clear();
      known.set(key, found);
    }
    const now = Date.now();
    return now >= found.from && now < found.peer.expiresAt ? found.peer : undefined;
  };
}

function examine(der: Buffer, issuer: X509Certificate): Known | undefined {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch {
    // Not a certificate: the same as none.
    return undefined;
  }
  if (certificate.ca || !certificate.verify(issuer.publicKey)) return undefined;
  const names = new Map(certificate.subject.split('\n').map((line) => split(line)));
  const role = (Object.keys(UNIT_OF) as Role[]).find((name) => UNIT_OF[name] === names.get('OU'));
  const id = names.get('CN');
  const clusterId = names.get('O');
  if (role === undefined || id === undefined || clusterId === undefined) return undefined;
  const peer = { role, id, clusterId, expiresAt: Date.parse(certificate.validTo) };
  return { peer, from: Date.parse(certificate.validFrom) };
}

function split(line: string): [string, string] {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
}
