/** The manager's settings: `covey-manager run` and `covey-manager init` read the same ones. */
import type { Config } from '../common/config.ts';

const HOST_PORT = /^(\[[0-9a-fA-F:]+\]|[^\s:]+):\d{1,5}$/;

export const MANAGER_SETTINGS = {
  'state-dir': { kind: 'string', default: '/var/lib/covey/manager', text: 'where the manager keeps its state' },
  'run-dir': { kind: 'string', default: '/run/covey/manager', text: 'where its sockets are; a short path' },
  listen: { kind: 'string', default: '0.0.0.0:2377', text: 'HOST:PORT to listen on', matches: HOST_PORT },
  advertise: { kind: 'string', default: '', text: 'HOST:PORT that agents and clients reach it by; empty: found out' },
  etcd: { kind: 'list', default: [], text: 'URLs of an outside etcd; empty: the embedded one' },
  'etcd-ca': { kind: 'string', default: '', text: 'PEM file: CA of the outside etcd' },
  'etcd-cert': { kind: 'string', default: '', text: 'PEM file: our certificate for it' },
  'etcd-key': { kind: 'string', default: '', text: 'PEM file: our key for it' },
  'etcd-prefix': { kind: 'string', default: 'covey', text: 'first part of every key', matches: /^[a-z0-9-]+$/ },
  'etcd-quota-bytes': {
    kind: 'integer',
    default: 2_147_483_648,
    text: 'size limit of the embedded etcd',
    min: 1_048_576,
    max: 8_589_934_592,
  },
  'insecure-registry': {
    kind: 'list',
    default: [],
    text: 'HOST[:PORT] of registries without TLS, or with a certificate that nobody vouches for',
  },
  'registry-certs': {
    kind: 'string',
    default: '/etc/covey/certs.d',
    text: 'DIR/HOST[:PORT]/ca.crt is trusted for that registry',
  },
  'registry-mirror': {
    kind: 'list',
    default: [],
    text: 'URL of a mirror of Docker Hub, or HOST[:PORT]=URL of one of that registry; asked first, in this order',
  },
  'registry-login-key': {
    kind: 'string',
    default: '',
    text: "file whose content encrypts logins, the same on every manager; empty: by the CA's key",
  },
  'image-upload-rate': {
    kind: 'integer',
    default: 0,
    text: 'bytes a second of image blobs given to nodes; 0: as fast as it goes',
    min: 0,
    max: 1_000_000_000_000,
  },
  'log-level': {
    kind: 'string',
    default: 'info',
    text: 'debug, info, warn or error',
    matches: /^(debug|info|warn|error)$/,
  },
  'unsafe-skip-drain': {
    kind: 'boolean',
    default: false,
    text: 'tests only: leaving tasks stop without waiting for anybody',
  },
} as const;

export type ManagerConfig = Config<typeof MANAGER_SETTINGS>;

/** Settings that count only when a cluster is made. */
export const INIT_SETTINGS = {
  ...MANAGER_SETTINGS,
  context: { kind: 'string', default: '/root/.covey/context.json', text: "where the CLI's context file is written" },
  'default-addr-pool': { kind: 'string', default: '10.64.0.0/12', text: 'pool of container addresses, CIDR' },
  'default-addr-pool-mask-length': { kind: 'integer', default: 24, text: "size of a node's block", min: 8, max: 29 },
  'cert-expiry': { kind: 'string', default: '2160h', text: "life of a node's certificate, at least 1h" },
  'failover-after': { kind: 'string', default: '15s', text: 'silence after which tasks move' },
  'task-history-limit': {
    kind: 'integer',
    default: 5,
    text: 'finished tasks kept a slot; -1: all',
    min: -1,
    max: 1_000,
  },
} as const;

export type InitConfig = Config<typeof INIT_SETTINGS>;
