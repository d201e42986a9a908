/** `covey service …`: the commands and their flags. The work is in the files beside this one, loaded when needed. */
import { type Command, Option } from 'commander';
import { EXIT_HELP } from '../exit.ts';
import { addProcessFlags, CREATE_PROCESS_LISTS, UPDATE_PROCESS_LISTS } from '../flags/process-flags.ts';
import { addSharedFlags } from '../flags/service-flags.ts';

const collect = (item: string, before: string[] | undefined): string[] => [...(before ?? []), item];

function lists(command: Command, flags: readonly (readonly [flag: string, help: string])[]): void {
  for (const [flag, help] of flags) command.addOption(new Option(flag, help).argParser(collect));
}

const LOG_OPT = ['--log-opt <key=value>', 'max-size, max-file, compress, mode, max-buffer-size of the log'] as const;

const resolveImage = (): Option =>
  new Option('--resolve-image <when>', 'ask the registry for the tag: always, changed or never (default: always)');

/** Adds `service` and its commands. */
export function addServiceCommands(program: Command): void {
  const service = program.command('service').description('Manage services');
  addCreate(service);
  addUpdate(service);
  service
    .command('ls')
    .alias('list')
    .description('List services')
    .option('--format <format>', 'table, json, or a template of {{.Key}}s')
    .option('-q, --quiet', 'ids only')
    .action(async (flags) => (await import('./service-list.ts')).listServices(flags));
  service
    .command('ps <service...>')
    .description('List the tasks of services, and why they do not run')
    .option('--format <format>', 'table, json, or a template of {{.Key}}s')
    .option('-q, --quiet', 'ids only')
    .action(async (refs, flags) => (await import('./service-list.ts')).listTasks(refs, flags));
  service
    .command('inspect <service...>')
    .description('Show services in full')
    .option('--format <format>', 'json')
    .action(async (refs, flags) => (await import('./service-list.ts')).inspectServices(refs, flags));
  service
    .command('scale <service=replicas...>')
    .description('Set the number of tasks')
    .option('-d, --detach', 'return at once instead of waiting until it has converged')
    .option('--timeout <duration>', 'wait at most so long, then exit 4')
    .addHelpText('after', EXIT_HELP)
    .action(async (pairs, flags) => (await import('./service-change.ts')).scaleServices(pairs, flags));
  service
    .command('rollback <service>')
    .description("Go back to the service's previous spec")
    .option('-d, --detach', 'return at once instead of waiting until it has converged')
    .option('-q, --quiet', 'no progress')
    .option('--timeout <duration>', 'wait at most so long, then exit 4')
    .addHelpText('after', EXIT_HELP)
    .action(async (ref, flags) => (await import('./service-change.ts')).rollbackService(ref, flags));
  service
    .command('rm <service...>')
    .alias('remove')
    .description('Remove services')
    .action(async (refs) => (await import('./service-change.ts')).removeServices(refs));
  service
    .command('logs <service-or-task>')
    .description('Show the output of all tasks, whichever nodes hold them')
    .option('-f, --follow', 'go on with what is written from now on')
    .option('-n, --tail <lines>', 'lines from the end, per task', 'all')
    .option('--since <time>', 'RFC 3339, seconds since 1970, or how long ago (10m)')
    .option('-t, --timestamps', 'with the time of each line')
    .action(async (ref, flags) => (await import('./service-logs.ts')).showLogs(ref, flags));
}

function addCreate(service: Command): void {
  const create = service
    .command('create <image> [command] [args...]')
    .description('Create a service')
    .passThroughOptions()
    .addOption(resolveImage())
    .option('--no-resolve-image', 'as --resolve-image never')
    .option('--name <name>', 'name of the service; made up when absent');
  lists(create, [
    ['-p, --publish <port>', 'published:target[/protocol], or published=,target=,protocol=,mode=ingress|host'],
    ['-e, --env <key=value>', 'environment variable'],
    ['--env-file <file>', 'environment variables from a file'],
    ['-l, --label <key=value>', 'label of the service'],
    ['--container-label <key=value>', 'label of its containers'],
    ['--constraint <rule>', 'only on nodes with key==value, or without it: key!=value'],
    LOG_OPT,
  ]);
  lists(create, CREATE_PROCESS_LISTS);
  addSharedFlags(create);
  addProcessFlags(create);
  create
    .addHelpText('after', EXIT_HELP)
    .action(async (image, command, args, flags) =>
      (await import('./service-change.ts')).createService(
        image,
        command === undefined ? [] : [command, ...args],
        flags,
      ),
    );
}

function addUpdate(service: Command): void {
  const update = service
    .command('update <service>')
    .description('Update a service')
    .option('--image <image>', 'new image')
    .addOption(resolveImage())
    .option('--no-resolve-image', 'as --resolve-image never')
    .option('--args <command>', "replaces the container's arguments")
    .option('--force', 'replace every task though nothing else changed')
    .option('--rollback', 'go back to the previous spec');
  lists(update, [
    ['--publish-add <port>', 'publish a port; replaces what that published port did'],
    ['--publish-rm <target>', 'stop publishing a target port'],
    ['--env-add <key=value>', 'set an environment variable'],
    ['--env-rm <key>', 'remove an environment variable'],
    ['--label-add <key=value>', 'set a label of the service'],
    ['--label-rm <key>', 'remove a label of the service'],
    ['--container-label-add <key=value>', 'set a label of its containers'],
    ['--container-label-rm <key>', 'remove a label of its containers'],
    ['--constraint-add <rule>', 'add a placement rule'],
    ['--constraint-rm <rule>', 'remove a placement rule'],
    LOG_OPT,
  ]);
  lists(update, UPDATE_PROCESS_LISTS);
  addSharedFlags(update);
  addProcessFlags(update);
  update
    .addHelpText('after', EXIT_HELP)
    .action(async (ref, flags) => (await import('./service-change.ts')).updateService(ref, flags));
}
