//! Opens a file through a filter, once for each call of the driver's that can fail: `open some.sys`.

use ntbench::wire::{
    CreateFile, DriverSpec, InstanceSpec, MachineConfig, NamespaceConfig, StackKind, ThreadSpec,
    Volume,
};
use ntbench::{Machine, MachineError, NtStatus};

/// Loads the driver, opens `C:\hello.txt`, unloads it.
fn scenario(machine: &Machine, image: &std::path::Path) -> Result<NtStatus, MachineError> {
    let instance = InstanceSpec {
        name: "Default".to_owned(),
        altitude: "370000".to_owned(),
        flags: 0,
    };
    let loaded = machine.load_driver(DriverSpec {
        image: image.to_owned(),
        service: "filter".to_owned(),
        instances: vec![instance],
        ..DriverSpec::default()
    })?;
    if !loaded.status.is_success() {
        return Ok(loaded.status);
    }
    let thread = machine.thread(ThreadSpec {
        process_image: "app.exe".to_owned(),
        process: 0,
        stack: StackKind::Ordinary,
    })?;
    let opened = thread.create_file(&CreateFile {
        name: r"\??\C:\hello.txt".to_owned(),
        ..CreateFile::default()
    })?;
    if opened.handle != 0 {
        thread.close(opened.handle)?;
    }
    machine.unload_driver("filter")?;
    Ok(opened.status)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Machines are processes that this executable starts from itself.
    ntbench::host_main();
    let image = std::env::args_os().nth(1).ok_or("name a .sys file")?;
    let folder = std::env::temp_dir().join("ntbench-open");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("hello.txt"), "hello")?;
    let config = MachineConfig {
        namespace: NamespaceConfig {
            volumes: vec![Volume {
                device: r"\Device\HarddiskVolume1".to_owned(),
                letter: Some('C'),
                folder,
            }],
            ..NamespaceConfig::default()
        },
        ..MachineConfig::default()
    };
    let failures = ntbench::each_failure(&config, |machine| scenario(machine, image.as_ref()))?;
    println!("undisturbed: {}", failures.undisturbed);
    println!("{} calls were made to fail", failures.forced());
    for failure in failures.bad() {
        println!("{failure}");
    }
    Ok(())
}
