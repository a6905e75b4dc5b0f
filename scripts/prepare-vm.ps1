<#
.SYNOPSIS
Makes a virtual machine ready for a test-signed headroom.sys, and undoes that.

.DESCRIPTION
Says each change before it makes it, and notes what was there in %ProgramData%\Headroom\prepare-vm.json; -Undo puts all of it back. Run it as often
as you like: what is done already is left alone. What it changes:

  - Windows accepts test-signed drivers (bcdedit /set testsigning on);
  - the package's certificate is trusted (LocalMachine\Root and LocalMachine\TrustedPublisher);
  - a bug check writes a dump, and the dump is kept (HKLM\SYSTEM\CurrentControlSet\Control\CrashControl);
  - a debugger sees the driver's lines (Session Manager\Debug Print Filter\IHVDRIVER);
  - with -KernelDebugHost: kernel debugging over the network (bcdedit /dbgsettings, /set debug on).

Test-signed drivers can be loaded by anybody who is an administrator here, and whoever holds the certificate's key is trusted like Windows itself: do
this to a machine that you can throw away. Take a snapshot first.

.EXAMPLE
.\prepare-vm.ps1
.EXAMPLE
.\prepare-vm.ps1 -CrashDump Complete -KernelDebugHost 192.0.2.1 -KernelDebugPort 50005
.EXAMPLE
.\prepare-vm.ps1 -Undo
#>
#Requires -Version 5.1
[CmdletBinding(DefaultParameterSetName = 'Prepare')]
param(
    # The package's folder: its certificate is the one that is trusted.
    [Parameter(ParameterSetName = 'Prepare')] [string] $Package = (Split-Path -Parent $PSScriptRoot),
    # What a bug check writes. Kernel has every kernel stack; Complete needs a page file larger than the memory.
    [Parameter(ParameterSetName = 'Prepare')] [ValidateSet('Kernel', 'Complete')] [string] $CrashDump = 'Kernel',
    # The machine that WinDbg runs on, by address: turns kernel debugging over the network (KDNET) on.
    [Parameter(ParameterSetName = 'Prepare')] [ipaddress] $KernelDebugHost,
    # The UDP port that WinDbg listens on.
    [Parameter(ParameterSetName = 'Prepare')] [ValidateRange(49152, 65535)] [int] $KernelDebugPort = 50000,
    # Go on although this does not look like a virtual machine.
    [Parameter(ParameterSetName = 'Prepare')] [switch] $Force,
    # Put everything back.
    [Parameter(Mandatory, ParameterSetName = 'Undo')] [switch] $Undo
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2.0
Import-Module (Join-Path $PSScriptRoot 'Headroom.psm1') -Force
Import-Module (Join-Path $PSScriptRoot 'Journal.psm1') -Force

Assert-Machine

if ($Undo) {
    if (-not (Get-Journal)) {
        Write-Host "Nothing to undo: there is no $(Get-JournalPath)."
        return
    }
    Write-Host 'Putting back:'
    Undo-Journal
    Write-Host 'Done. Restart to end test signing and kernel debugging. The settings of bcdedit /dbgsettings stay, unused.'
    return
}

# What stands against it, before anything is changed.
$system = Get-CimInstance Win32_ComputerSystem
$machine = "$($system.Manufacturer) $($system.Model)"
if (-not $Force -and $machine -notmatch 'Virtual|VMware|KVM|QEMU|Xen|Parallels|Bochs|Standard PC|HVM domU') {
    throw "This is a '$machine', which does not look like a virtual machine. Use one with a snapshot; -Force if you know better."
}
try {
    $secureBoot = Confirm-SecureBootUEFI
}
catch [PlatformNotSupportedException] {
    # Started by a BIOS: there is no Secure Boot.
    $secureBoot = $false
}
if ($secureBoot) {
    throw 'Secure Boot is on, and keeps test signing off. Turn the machine off and Secure Boot with it (Hyper-V: Set-VMFirmware -VMName NAME -EnableSecureBoot Off), then run this again.'
}
$protected = Get-CimInstance -Namespace root\CIMV2\Security\MicrosoftVolumeEncryption -ClassName Win32_EncryptableVolume -ErrorAction SilentlyContinue |
    Where-Object { $_.DriveLetter -eq $env:SystemDrive -and $_.ProtectionStatus -eq 1 }
if ($protected) {
    throw "BitLocker protects $($env:SystemDrive): with other start options it would ask for the recovery key. Suspend it first: Suspend-BitLocker $($env:SystemDrive) -RebootCount 2"
}
$certificate = @(Get-ChildItem -LiteralPath $Package -Filter *.cer -File)
if ($certificate.Count -ne 1) {
    throw "$Package holds $($certificate.Count) certificates (*.cer), and one is expected: name the package's folder with -Package."
}

Write-Host "Preparing ($(Get-JournalPath) keeps what was there):"
Set-JournaledStartOption testsigning
foreach ($store in 'Root', 'TrustedPublisher') {
    Add-JournaledCertificate -Path $certificate[0].FullName -Store $store
}
$crashControl = 'HKLM:\SYSTEM\CurrentControlSet\Control\CrashControl'
Set-JournaledValue $crashControl CrashDumpEnabled $(if ($CrashDump -eq 'Complete') { 1 } else { 2 })
Set-JournaledValue $crashControl AlwaysKeepMemoryDump 1
Set-JournaledValue 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Debug Print Filter' IHVDRIVER 0xf
if ($KernelDebugHost) {
    Write-Step "bcdedit /dbgsettings net hostip:$KernelDebugHost port:$KernelDebugPort"
    $answer = Invoke-Tool bcdedit.exe @('/dbgsettings', 'net', "hostip:$KernelDebugHost", "port:$KernelDebugPort")
    Set-JournaledStartOption debug
    Write-Host "  On $($KernelDebugHost): windbg -k net:port=$KernelDebugPort,key=... with this key:"
    Write-Host "    $answer"
}

Write-Host
if (Test-TestSigning) {
    Write-Host 'Ready: install.ps1 can follow.'
    if ($KernelDebugHost) { Write-Host 'Restart to be reached by the debugger.' }
}
else {
    Write-Host 'Restart now; test signing holds from the next start on. Then: install.ps1'
}
