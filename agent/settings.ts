/** The agent's settings: `covey-agent run`, `join` and `leave` read the same ones. */
import type { Config } from '../common/config.ts';

const RATE = { kind: 'integer', default: 0, min: 0, max: 1_000_000_000_000 } as const;

export const AGENT_SETTINGS = {
  'state-dir': {
    kind: 'string',
    default: '/var/lib/covey/agent',
    text: 'where identity, assignments, images and logs are kept',
  },
  address: {
    kind: 'string',
    default: '',
    text: 'IPv4 address by which the other hosts reach this one; empty: found out',
  },
  'cgroup-parent': {
    kind: 'string',
    default: 'covey',
    text: 'cgroup of the containers where systemd does not run',
    matches: /^[\w./-]+$/,
  },
  'user-ids': {
    kind: 'string',
    default: '',
    text: 'ids that containers are mapped to, as BASE:COUNT, 65536 for each; empty: covey in /etc/subuid, else 100000 to 2^31',
    matches: /^(\d{1,10}:\d{1,10})?$/,
  },
  'disk-high': {
    kind: 'integer',
    default: 80,
    text: 'percent of the disk above which the agent makes room: containers of ended tasks, unused images, build cache',
    min: 1,
    max: 100,
  },
  'disk-low': {
    kind: 'integer',
    default: 70,
    text: 'percent of the disk down to which it makes room',
    min: 1,
    max: 100,
  },
  'disk-pressure': {
    kind: 'integer',
    default: 90,
    text: 'percent of the disk above which the node takes no new task, until it is back at disk-high; 100: never',
    min: 1,
    max: 100,
  },
  'mesh-port': {
    kind: 'integer',
    default: 2378,
    text: 'port on which other nodes take pieces of images; 0: they do not',
    min: 0,
    max: 65_535,
  },
  'mesh-upload-rate': { ...RATE, text: 'bytes a second of images given to other nodes; 0: as fast as it goes' },
  'mesh-download-rate': { ...RATE, text: 'bytes a second of images taken; 0: as fast as it goes' },
  'mesh-keep-bytes': {
    kind: 'integer',
    default: 4_294_967_296,
    text: 'bytes of packed layers that are kept for other nodes; the oldest go first, all when the disk is short',
    min: 0,
    max: 1_000_000_000_000,
  },
  'log-level': {
    kind: 'string',
    default: 'info',
    text: 'debug, info, warn or error',
    matches: /^(debug|info|warn|error)$/,
  },
} as const;

export type AgentConfig = Config<typeof AGENT_SETTINGS>;

/** Of `covey-agent join`. */
export const JOIN_SETTINGS = {
  ...AGENT_SETTINGS,
  token: {
    kind: 'string',
    default: '',
    text: 'the join token, from `covey cluster token`; `-`: read it from standard input',
  },
} as const;

/** Of `covey-agent leave`. */
export const LEAVE_SETTINGS = {
  ...AGENT_SETTINGS,
  force: { kind: 'boolean', default: false, text: 'leave although no manager can be told' },
} as const;
