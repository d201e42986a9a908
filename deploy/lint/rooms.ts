/**
 * The one table of who may import whom. `generate.ts` makes biome.json from it; a test proves that each line of it fires.
 *
 * Overrides of one rule replace each other in biome, so every room's entry is complete: it lists all that the room may
 * not import. Patterns are matched against the import's text, which is why they name folders by their segments.
 */

/** A room, by the glob of its files, and what may not be imported there. */
export interface Room {
  readonly name: string;
  readonly files: readonly string[];
  /** What is banned, with the reason that biome shows. `!` takes back. */
  readonly bans: readonly { readonly patterns: readonly string[]; readonly message: string }[];
  /** True for rooms that only decide. */
  readonly pure?: boolean;
}

const TESTS = { patterns: ['**/test/**'], message: 'nothing imports test' };
const ETCD = { patterns: ['etcd3'], message: 'only manager/store/etcd*.ts speaks to etcd' };
const GRPC = { patterns: ['@grpc/**', 'protobufjs', 'protobufjs/**'], message: 'only proto/ knows gRPC and protobuf' };
const NATIVE = {
  patterns: ['**/native/**'],
  message: 'the addon is used in agent/{runtime,network,image,volume,build} only',
};
const MANAGER = { patterns: ['**/manager/**'], message: 'this room does not know the manager' };
const AGENT = { patterns: ['**/agent/**'], message: 'this room does not know the agent' };
const CLI = { patterns: ['**/cli/**', 'commander'], message: 'only the CLI knows the CLI' };
const DEPLOY = { patterns: ['**/deploy/**'], message: 'nothing but tests imports deploy' };
const X509 = { patterns: ['@peculiar/x509', 'reflect-metadata'], message: 'X.509 is made in common/tls only' };

const HTTP = { patterns: ['undici'], message: 'only common/registry speaks to registries' };

const MODEL = {
  patterns: ['**', '!./**'],
  message: 'common/model imports nothing but itself',
};

/** What decides may see: the model, the types of the store and of the loop, and the rooms named below it. */
function pure(...below: readonly string[]): Room['bans'] {
  const allowed = ['!./**', '!**/common/model/**', '!../store/store.ts', '!../reconcile.ts'];
  return [
    {
      patterns: ['**', ...allowed, ...below.map((room) => `!../${room}/**`)],
      message:
        'a room that decides imports the model, store.ts, reconcile.ts and the pure rooms below it, nothing else',
    },
  ];
}

export const ROOMS: readonly Room[] = [
  {
    name: 'proto',
    files: ['proto/**'],
    bans: [{ patterns: ['../**', '!./**'], message: 'proto imports grpc-js and protobufjs only' }, ETCD, X509, HTTP],
  },
  { name: 'common', files: ['common/**'], bans: [MANAGER, AGENT, CLI, NATIVE, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP] },
  { name: 'tls', files: ['common/tls/**'], bans: [MANAGER, AGENT, CLI, NATIVE, DEPLOY, TESTS, ETCD, GRPC, HTTP] },
  {
    name: 'registry',
    files: ['common/registry/**'],
    bans: [MANAGER, AGENT, CLI, NATIVE, DEPLOY, TESTS, ETCD, GRPC, X509],
  },
  { name: 'model', files: ['common/model/**'], bans: [MODEL], pure: true },
  { name: 'native', files: ['native/*.ts'], bans: [MANAGER, AGENT, CLI, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP] },
  { name: 'manager', files: ['manager/**'], bans: [AGENT, CLI, NATIVE, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP] },
  { name: 'etcd', files: ['manager/store/etcd*.ts'], bans: [AGENT, CLI, NATIVE, DEPLOY, TESTS, GRPC, X509, HTTP] },
  { name: 'orchestrator', files: ['manager/orchestrator/**'], bans: pure(), pure: true },
  { name: 'updater', files: ['manager/updater/**'], bans: pure('orchestrator'), pure: true },
  { name: 'scheduler', files: ['manager/scheduler/**'], bans: pure('allocator'), pure: true },
  { name: 'allocator', files: ['manager/allocator/**'], bans: pure(), pure: true },
  { name: 'nodes', files: ['manager/nodes/**'], bans: pure(), pure: true },
  { name: 'agent', files: ['agent/**'], bans: [MANAGER, CLI, NATIVE, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP] },
  {
    name: 'hands',
    files: ['agent/runtime/**', 'agent/network/**', 'agent/image/**', 'agent/volume/**', 'agent/build/*.ts'],
    bans: [MANAGER, CLI, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP],
  },
  {
    name: 'dockerfile',
    files: ['agent/build/dockerfile/**'],
    bans: [
      {
        patterns: [
          '**',
          '!./**',
          '!**/common/model/**',
          '!**/common/context/**',
          '!**/common/errors.ts',
          '!**/common/units.ts',
          '!**/common/oci/digest.ts',
          '!../../runtime/signal.ts',
          '!dockerfile-ast',
        ],
        message: 'what a Dockerfile says is read without doing anything: the model, errors and units, nothing else',
      },
    ],
    pure: true,
  },
  {
    name: 'agent main',
    files: ['agent/main.ts'],
    bans: [MANAGER, CLI, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP],
  },
  {
    name: 'cli',
    files: ['cli/**'],
    bans: [MANAGER, AGENT, NATIVE, DEPLOY, TESTS, ETCD, GRPC, X509, HTTP],
  },
  { name: 'deploy', files: ['deploy/**/*.ts'], bans: [TESTS, ETCD, X509, HTTP] },
];

/** Single files that decide and live beside ones that do. */
export const PURE_FILES: readonly string[] = [
  'agent/task-machine.ts',
  'manager/dispatcher/assignments.ts',
  'manager/dispatcher/picture.ts',
  'manager/dispatcher/release.ts',
  'manager/control/progress.ts',
  'manager/control/events.ts',
  'agent/runs.ts',
  'agent/engine/restart-policy.ts',
  'agent/engine/addresses.ts',
  'manager/images/removal.ts',
  'agent/cluster-map.ts',
  'agent/mesh/choice.ts',
  'agent/network/table.ts',
  'agent/network/paths.ts',
  'agent/network/marks.ts',
  'common/registry/place.ts',
  'common/registry/challenge.ts',
];

/** What a decision may not touch. */
export const IMPURE_GLOBALS: readonly string[] = [
  'Date',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'performance',
  'crypto',
  'process',
  'globalThis',
];

export const FILE_LINES_MAX = 400;
export const FUNCTION_LINES_MAX = 60;
