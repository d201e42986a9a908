/** Makes the cluster's CA, certificate requests and certificates. EC P-256 throughout. */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Role } from '../../proto/rpc.ts';
import { ClusterError } from '../errors.ts';
import type { Instant } from '../model/ids.ts';
import { UNIT_OF } from './peer.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const CA_LIFETIME_MS = 20 * 365 * 24 * 3_600_000;
/** Certificates begin an hour early, so that a host whose clock is behind accepts them. */
const BACKDATE_MS = 3_600_000;

x509.cryptoProvider.set(webcrypto);

export interface KeyedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly key: string;
}

export interface Subject {
  readonly role: Role;
  /** Common name: a node's, manager's or client's id. */
  readonly id: string;
  readonly clusterId: string;
  /** IP addresses to certify, for servers whose clients go by the address. */
  readonly addresses?: readonly string[];
}

/** A new self-signed CA for the cluster. */
export async function createCa(clusterId: string, now: Instant): Promise<KeyedCertificate> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(),
      name: `CN=covey-ca,O=${clusterId}`,
      notBefore: new Date(now - BACKDATE_MS),
      notAfter: new Date(now + CA_LIFETIME_MS),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    webcrypto,
  );
  return { certificate: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
}

/** A fresh key and a request for it. Only the key in the request counts; names are the CA's business. */
export async function createRequest(): Promise<{ readonly csr: string; readonly key: string }> {
  const keys = await newKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=covey',
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { csr: request.toString('pem'), key: await pemOf(keys.privateKey) };
}

/**
 * Signs the key in `csr` for `subject`. The answer is the leaf followed by the CA, so that a joiner can see both.
 * @throws ClusterError `invalid` when the request is no PKCS#10 or is not signed by its own key
 */
export async function sign(
  ca: KeyedCertificate,
  csr: string,
  subject: Subject,
  validity: { readonly now: Instant; readonly lifetimeMs: number },
): Promise<string> {
  const publicKey = await keyOf(csr);
  const issuer = new x509.X509Certificate(ca.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${subject.id},OU=${UNIT_OF[subject.role]},O=${subject.clusterId}`,
    issuer: issuer.subject,
    notBefore: new Date(validity.now - BACKDATE_MS),
    notAfter: new Date(validity.now + validity.lifetimeMs),
    publicKey,
    signingKey: await importKey(ca.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages(subject.role), false),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(subject.addresses === undefined ? [] : [alternatives(subject.addresses)]),
    ],
  });
  return `${certificate.toString('pem').trim()}\n${ca.certificate.trim()}\n`;
}

/** Key and certificate at once, for whoever holds the CA. */
export async function issue(
  ca: KeyedCertificate,
  subject: Subject,
  validity: { readonly now: Instant; readonly lifetimeMs: number },
): Promise<KeyedCertificate> {
  const request = await createRequest();
  return { certificate: await sign(ca, request.csr, subject, validity), key: request.key };
}

function alternatives(addresses: readonly string[]): x509.Extension {
  return new x509.SubjectAlternativeNameExtension(addresses.map((value) => ({ type: 'ip', value })));
}

function usages(role: Role): string[] {
  const client = x509.ExtendedKeyUsage.clientAuth;
  // Nodes serve each other pieces of images.
  return role === 'client' ? [client] : [x509.ExtendedKeyUsage.serverAuth, client];
}

async function keyOf(csr: string): Promise<webcrypto.CryptoKey> {
  try {
    const request = new x509.Pkcs10CertificateRequest(csr);
    if (!(await request.verify())) throw new Error('its signature does not match its key');
    return await request.publicKey.export(ALGORITHM, ['verify']);
  } catch (cause) {
    throw new ClusterError('invalid', 'the certificate request cannot be used', {
      field: 'csr',
      hint: 'send a PEM PKCS#10 request with an EC P-256 key',
      cause,
    });
  }
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return x509.PemConverter.encode(der, 'PRIVATE KEY');
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = x509.PemConverter.decode(pem);
  if (der === undefined) throw new ClusterError('internal', 'the CA key is not PEM');
  return await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
}

function serial(): string {
  // Positive and of one length: the first digit stays below 8.
  return `0${randomBytes(16).toString('hex').slice(1)}`;
}
