/** Arbitrary objects of every stored kind, for property tests. */
import fc from 'fast-check';
import type { Kind, Kinds } from '../../manager/store/store.ts';

const text = fc.string({ maxLength: 12, unit: 'grapheme' });
const whole = fc.oneof(fc.nat(), fc.maxSafeNat());
const signed = fc.maxSafeInteger();
const int32 = fc.integer();
const texts = fc.array(text, { maxLength: 3 });
/** A key named `__proto__` is refused at the door (service-rules). */
const labels = fc.dictionary(
  text.filter((key) => key !== '__proto__'),
  text,
  { maxKeys: 3, noNullPrototype: true },
);

/** All of `required`, and any of `optional`, which are absent rather than undefined. */
function object(required: Record<string, fc.Arbitrary<unknown>>, optional: Record<string, fc.Arbitrary<unknown>> = {}) {
  const all = fc.record({ ...required, ...optional }, { requiredKeys: Object.keys(required), noNullPrototype: true });
  return all as fc.Arbitrary<unknown>;
}

const healthCheck = object({
  test: texts,
  intervalMs: whole,
  timeoutMs: whole,
  retries: whole,
  startPeriodMs: whole,
  startIntervalMs: whole,
});
const health = fc.oneof(
  fc.constant({ kind: 'image' }),
  fc.constant({ kind: 'none' }),
  object({ kind: fc.constant('command'), check: healthCheck }),
);
const processRules = object({
  capAdd: texts,
  capDrop: texts,
  ulimits: fc.array(object({ name: text, soft: signed, hard: signed }), { maxLength: 2 }),
  sysctls: labels,
  init: fc.boolean(),
  oomScoreAdj: signed,
  groups: texts,
  shmBytes: whole,
  noNewPrivileges: fc.boolean(),
  privileged: fc.boolean(),
  seccomp: fc.oneof(
    fc.constantFrom({ kind: 'default' }, { kind: 'unconfined' }),
    object({ kind: fc.constant('profile'), json: text }),
  ),
  appArmorProfile: text,
  seLinuxLabel: text,
});
const container = object(
  {
    image: text,
    env: texts,
    labels,
    readOnly: fc.boolean(),
    stopGraceMs: whole,
    health,
    startTimeoutMs: whole,
    drainMs: whole,
  },
  {
    imageDigest: text,
    entrypoint: texts,
    args: texts,
    workdir: text,
    user: text,
    hostname: text,
    userns: fc.constant('host'),
    stopSignal: text,
    process: processRules,
    log: object({ driver: text, options: labels }),
    tty: fc.constant(true),
  },
);
const some = whole.filter((number) => number !== 0);
const template = object({
  container,
  // What is set to none travels as absent.
  limits: object(
    { nanoCpus: whole, memoryBytes: whole, pids: whole },
    {
      memorySwapBytes: some,
      memorySwappiness: whole,
      networkEgressBits: some,
      networkIngressBits: some,
      storageBytes: some,
    },
  ),
  reservations: object({ nanoCpus: whole, memoryBytes: whole }),
  restart: object({
    condition: fc.constantFrom('none', 'on-failure', 'any'),
    delayMs: whole,
    maxAttempts: whole,
    windowMs: whole,
  }),
  placement: object({ constraints: texts, maxReplicasPerNode: whole }),
  forceUpdate: whole,
});
const ports = fc.array(
  object({
    protocol: fc.constantFrom('tcp', 'udp'),
    target: int32,
    published: int32,
    mode: fc.constantFrom('ingress', 'host'),
  }),
  { maxLength: 3 },
);
const policy = object({
  parallelism: whole,
  delayMs: whole,
  failureAction: fc.constantFrom('pause', 'continue', 'rollback'),
  monitorMs: whole,
  maxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }),
  order: fc.constantFrom('stop-first', 'start-first'),
  progressDeadlineMs: whole,
});
const spec = object(
  {
    name: text,
    labels,
    template,
    mode: object({ kind: fc.constant('replicated'), replicas: whole }),
    update: policy,
    rollback: policy,
    ports,
  },
  { failoverAfterMs: whole },
);
const epoch = object({ incarnation: whole, reign: whole });
const description = object({
  hostname: text,
  address: text,
  mac: text,
  os: text,
  arch: text,
  nanoCpus: whole,
  memoryBytes: whole,
  version: text,
  meshPort: whole,
});
const run = object({ number: whole, startedAt: whole }, { endedAt: whole, exitCode: int32 });

const ARBITRARIES: Readonly<Record<Kind, fc.Arbitrary<unknown>>> = {
  cluster: object({
    id: text,
    createdAt: whole,
    incarnation: whole,
    ca: object({ certificate: text, key: text }),
    joinSecret: text,
    certificateLifetimeMs: whole,
    failoverAfterMs: whole,
    taskHistory: signed,
    addressPool: text,
    blockBits: whole,
    revoked: fc.dictionary(
      text.filter((key) => key !== '__proto__'),
      whole,
      { maxKeys: 3, noNullPrototype: true },
    ),
  }),
  manager: object({ id: text, address: text, version: text, startedAt: whole }),
  leader: object({ managerId: text, address: text, since: whole }),
  service: object(
    {
      id: text,
      spec,
      revision: whole,
      lastRevision: whole,
      rolledBack: fc.boolean(),
      createdAt: whole,
      updatedAt: whole,
    },
    { previous: object({ spec, revision: whole }) },
  ),
  revision: object({ serviceId: text, number: whole, serviceName: text, template, ports }, { failoverAfterMs: whole }),
  rollout: object(
    {
      serviceId: text,
      target: whole,
      state: fc.constantFrom(
        'updating',
        'paused',
        'completed',
        'rollback_started',
        'rollback_paused',
        'rollback_completed',
      ),
      startedAt: whole,
      message: text,
      total: whole,
      done: fc.array(whole, { maxLength: 3 }),
      failed: fc.array(object({ slot: whole, taskId: text }), { maxLength: 3 }),
      progressAt: whole,
    },
    { completedAt: whole, lastDoneAt: whole },
  ),
  task: object(
    {
      id: text,
      serviceId: text,
      slot: whole,
      revision: whole,
      desired: fc.constantFrom('ready', 'running', 'complete', 'shutdown', 'remove'),
      origin: fc.constantFrom('create', 'restart', 'update', 'move'),
      createdAt: whole,
      desiredAt: whole,
      restarts: object({ total: whole, recent: fc.array(whole, { maxLength: 3 }), streak: whole }),
    },
    {
      nodeId: text,
      address: text,
      assignedAt: whole,
      pending: text,
      notBefore: whole,
      replaces: text,
      rollout: whole,
      because: text,
    },
  ),
  'task-status': object(
    {
      taskId: text,
      nodeId: text,
      state: fc.constantFrom(
        'accepted',
        'preparing',
        'ready',
        'starting',
        'running',
        'complete',
        'shutdown',
        'failed',
        'rejected',
      ),
      at: whole,
      appliedAt: whole,
      message: text,
      oomKilled: fc.boolean(),
      healthy: fc.boolean(),
      runs: fc.array(run, { maxLength: 3 }),
    },
    { runningAt: whole, error: text, exitCode: int32, signal: int32, pid: int32 },
  ),
  node: object(
    {
      id: text,
      availability: fc.constantFrom('active', 'pause', 'drain'),
      role: fc.constantFrom('worker', 'manager'),
      labels,
      createdAt: whole,
    },
    { block: text },
  ),
  'node-status': object(
    {
      nodeId: text,
      state: fc.constantFrom('ready', 'suspect', 'unreachable', 'lost'),
      since: whole,
      message: text,
      epoch,
      description,
      unfit: text,
    },
    { silentSince: whole },
  ),
  image: object(
    { reference: text, digest: text, size: whole, blobs: texts, loadedAt: whole, os: text, arch: text },
    { indexDigest: fc.string({ minLength: 1 }), isInRegistry: fc.constant(true) },
  ),
  login: object({ registry: text, username: text, sealed: text, createdAt: whole }),
  container: object({
    id: text,
    name: text,
    nodeId: text,
    imageDigest: text,
    createdAt: whole,
    ports,
    isMade: fc.boolean(),
  }),
  name: object({ name: text, id: text }),
};

/** Any value of the kind that its type allows. */
export function arbitrary<K extends Kind>(kind: K): fc.Arbitrary<Kinds[K]> {
  return ARBITRARIES[kind] as fc.Arbitrary<Kinds[K]>;
}
