<#
.SYNOPSIS
Collects what a report of a problem needs into one zip: records, settings, versions, dumps.

.DESCRIPTION
Reads, and changes nothing. A piece that cannot be had is named in collect.log inside the zip, with the reason, and the others are collected all the same.
The zip names processes and paths of this machine, and a dump holds its memory: look at it before you send it.

.EXAMPLE
.\collect.ps1
.EXAMPLE
.\collect.ps1 -MemoryDump -Output D:\headroom.zip
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    # The zip.
    [string] $Output = (Join-Path (Get-Location).ProviderPath ('headroom-{0:yyyyMMdd-HHmmss}.zip' -f (Get-Date))),
    # The package's folder: headroom.exe is there.
    [string] $Package = (Split-Path -Parent $PSScriptRoot),
    # Include MEMORY.DMP, which is as large as the kernel's memory.
    [switch] $MemoryDump
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2.0
Import-Module (Join-Path $PSScriptRoot 'Headroom.psm1') -Force

Assert-Machine
if (Test-Path -LiteralPath $Output) { throw "$Output is there already: name another file with -Output." }

$folder = Join-Path ([IO.Path]::GetTempPath()) "headroom-$([guid]::NewGuid())"
New-Item -ItemType Directory -Path $folder | Out-Null
$log = Join-Path $folder 'collect.log'

# One piece: what the block writes, in a file of the given name.
function Save-Piece {
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [scriptblock] $Block)
    Write-Step $Name
    try {
        & $Block | Out-File -LiteralPath (Join-Path $folder $Name) -Encoding utf8 -Width 400
        "$($Name): collected" | Out-File -LiteralPath $log -Append -Encoding utf8
    }
    catch {
        "$($Name): not to be had: $($_.Exception.Message)" | Out-File -LiteralPath $log -Append -Encoding utf8
    }
}

# One file as it is.
function Copy-Piece {
    param([Parameter(Mandatory)] [string] $Path)
    Write-Step $Path
    try {
        Copy-Item -LiteralPath $Path -Destination $folder
        "$($Path): copied" | Out-File -LiteralPath $log -Append -Encoding utf8
    }
    catch {
        "$($Path): not to be had: $($_.Exception.Message)" | Out-File -LiteralPath $log -Append -Encoding utf8
    }
}

Write-Host 'Collecting:'
try {
    Save-Piece 'windows.txt' {
        Get-CimInstance Win32_OperatingSystem | Format-List Caption, Version, BuildNumber, OSArchitecture, LastBootUpTime, TotalVisibleMemorySize
        Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' | Format-List DisplayVersion, CurrentBuild, UBR
        Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control' | Format-List SystemStartOptions
        Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control\CrashControl' | Format-List CrashDumpEnabled, AlwaysKeepMemoryDump, DumpFile
    }
    Save-Piece 'driver.txt' {
        $image = Get-RegistryValue -Path $ServiceKey -Name ImagePath
        if (-not $image) { throw 'the service is not installed' }
        $path = $image -replace '^\\SystemRoot\\', "$env:SystemRoot\"
        if (-not (Split-Path -IsAbsolute $path)) { $path = Join-Path $env:SystemRoot $path }
        Get-Item -LiteralPath $path | Format-List FullName, Length, LastWriteTimeUtc, VersionInfo
        Get-FileHash -LiteralPath $path -Algorithm SHA256 | Format-List Algorithm, Hash
        Get-AuthenticodeSignature -LiteralPath $path | Format-List Status, StatusMessage, SignerCertificate
    }
    Save-Piece 'service.txt' { Invoke-Tool reg.exe @('query', "HKLM\SYSTEM\CurrentControlSet\Services\$Service", '/s') }
    Save-Piece 'filters.txt' { Invoke-Tool fltmc.exe @('filters') }
    Save-Piece 'instances.txt' { Invoke-Tool fltmc.exe @('instances') }
    Save-Piece 'verifier.txt' { Invoke-Tool verifier.exe @('/querysettings') -Success 0, 1 }

    $harness = Join-Path $Package 'headroom.exe'
    if (Test-Path -LiteralPath $harness) {
        Save-Piece 'doctor.json' { Invoke-Tool $harness @('doctor', '--json') -Success 0, 1 }
        Save-Piece 'status.json' { Invoke-Tool $harness @('status', '--json') }
        Save-Piece 'config.json' { Invoke-Tool $harness @('config', 'get', '--json') }
        Save-Piece 'stats.json' { Invoke-Tool $harness @('stats', '--json') }
        # What the driver's ring holds now, and no more.
        Save-Piece 'records.jsonl' { Invoke-Tool $harness @('log', '--format', 'jsonl', '--for', '2s') }
    }
    else {
        "headroom.exe: not in $Package, so neither records nor settings in force" | Out-File -LiteralPath $log -Append -Encoding utf8
    }

    Save-Piece 'bug-checks.txt' {
        Get-WinEvent -FilterHashtable @{ LogName = 'System'; ProviderName = 'Microsoft-Windows-WER-SystemErrorReporting'; Id = 1001 } -MaxEvents 20 |
            Format-List TimeCreated, Message
    }
    Save-Piece 'setup.txt' { Get-Content -LiteralPath "$env:SystemRoot\INF\setupapi.dev.log" | Select-String -SimpleMatch headroom -Context 2, 8 }
    foreach ($dump in Get-ChildItem "$env:SystemRoot\Minidump\*.dmp" -ErrorAction SilentlyContinue | Sort-Object LastWriteTime -Descending | Select-Object -First 5) {
        Copy-Piece $dump.FullName
    }
    $memory = Join-Path $env:SystemRoot 'MEMORY.DMP'
    if ($MemoryDump) { Copy-Piece $memory }
    elseif (Test-Path -LiteralPath $memory) {
        "$($memory): left out; -MemoryDump includes it, and headroom.exe dump reads it in place" | Out-File -LiteralPath $log -Append -Encoding utf8
    }

    # Compress-Archive ends at 2 GB; this does not.
    Add-Type -AssemblyName System.IO.Compression.FileSystem
    $target = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Output)
    [IO.Compression.ZipFile]::CreateFromDirectory($folder, $target)
}
finally {
    Remove-Item -LiteralPath $folder -Recurse -Force
}
Write-Host
Write-Host "Collected in $Output. It names this machine's processes and paths: look at it before you send it."
