/** TLS for whoever calls: one's own certificate, and the CA that the other side's must end in. */
import { createSecureContext, type SecureContext } from 'node:tls';
import type { TlsMaterial } from './rpc.ts';

/** One for all channels of a certificate: making one costs more than a connection. */
const contexts = new WeakMap<TlsMaterial, SecureContext>();

/** TLS 1.3 and nothing older. */
export function contextOf(material: TlsMaterial): SecureContext {
  const known = contexts.get(material);
  if (known !== undefined) return known;
  const context = createSecureContext({
    ca: material.ca,
    // A joiner has none yet.
    ...(material.certificate === '' ? {} : { cert: material.certificate, key: material.key }),
    minVersion: 'TLSv1.3',
  });
  contexts.set(material, context);
  return context;
}
